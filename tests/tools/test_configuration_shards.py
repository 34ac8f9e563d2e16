"""The configuration of an exchange of several shards, and each shard of it by itself."""

import re
from pathlib import Path

import pytest

from feed.settings import Address
from tests.tools.test_configuration import ONE_OF_EACH, SMALLEST, errors, write
from tools.configuration import Configuration
from tools.console import UsageError
from zk.directory import decode_directory, rendezvous

TWO_SHARDS = """
exchange = "TEST"

[shards.1.feed]
group = "239.255.76.83"

[shards.1.replicas.e1]
commands = "127.0.0.1:30100"
repair = "127.0.0.1:30101"
control = "127.0.0.1:30102"
replication = "127.0.0.1:30103"

[shards.1.retransmitters.r1]
repair = "127.0.0.1:30110"
replication = "127.0.0.1:30111"

[shards.2.feed]
group = "239.255.76.84"

[shards.2.replicas.e2]
commands = "127.0.0.1:30200"
repair = "127.0.0.1:30201"
control = "127.0.0.1:30202"
replication = "127.0.0.1:30203"

[gateways.g1]
listen = "127.0.0.1:30300"
clients = "clients.toml"

[[instruments]]
symbol = "AAPL"
shard = 2

[[instruments]]
symbol = "MSFT"

[journal]
folder = "days"
"""
UNICAST = (
    TWO_SHARDS.replace(
        'group = "239.255.76.83"',
        'transport = "unicast"\nreceivers = ["127.0.0.1:30401", "127.0.0.1:30402",'
        ' "127.0.0.1:30403"]',
    )
    .replace(
        'repair = "127.0.0.1:30101"', 'repair = "127.0.0.1:30101"\nreceive = "127.0.0.1:30401"'
    )
    .replace(
        'repair = "127.0.0.1:30110"', 'repair = "127.0.0.1:30110"\nreceive = "127.0.0.1:30402"'
    )
    + '[gateways.g1.shard_receive]\n1 = "127.0.0.1:30403"\n'
)


def load(folder: Path, text: str = TWO_SHARDS) -> Configuration:
    return Configuration.load(write(folder, text))


def test_each_shard_is_had_as_if_it_were_the_only_one(tmp_path: Path) -> None:
    whole = load(tmp_path)
    views = whole.by_shard()
    assert list(views) == [1, 2]
    first, second = views.values()
    assert (first.feed.shard, second.feed.shard) == (1, 2)
    assert (str(first.feed.group), str(second.feed.group)) == ("239.255.76.83", "239.255.76.84")
    assert (list(first.shard_settings().holders), list(second.replicas)) == (["e1", "r1"], ["e2"])
    assert first.repair_addresses() == (Address("127.0.0.1", 30110),)
    assert second.repair_addresses() == (Address("127.0.0.1", 30201),)
    for view in views.values():
        assert view.shards == {}
        assert view.gateways == whole.gateways
        assert view.journal == whole.journal
        assert [each.symbol for each in view.instruments] == ["AAPL", "MSFT"]
        copy = tmp_path / "alone.toml"
        view.save(copy)
        assert Configuration.load(copy) == view  # so it is a whole configuration
    assert whole.of_shard(2) == second


def test_the_only_shard_is_had_without_its_number(tmp_path: Path) -> None:
    alone = load(tmp_path, ONE_OF_EACH.replace("[replicas.e1]", "[feed]\nshard = 7\n[replicas.e1]"))
    assert alone.by_shard() == {7: alone}
    assert alone.of_shard() is alone.of_shard(7) is alone
    section = TWO_SHARDS[TWO_SHARDS.index("[shards.2") : TWO_SHARDS.index("[gateways")]
    sectioned = load(tmp_path, TWO_SHARDS.replace(section, "").replace("shard = 2", ""))
    assert sectioned.of_shard() == sectioned.by_shard()[1]
    with pytest.raises(UsageError, match=r"no shard 2 \(there is: 7\)"):
        alone.of_shard(2)


@pytest.mark.parametrize(
    "use",
    [
        lambda configuration: configuration.of_shard(),
        lambda configuration: configuration.repair_addresses(),
        lambda configuration: configuration.shard_settings(),
    ],
)
def test_what_is_for_one_shard_asks_which_of_several(tmp_path: Path, use: object) -> None:
    assert callable(use)
    with pytest.raises(UsageError, match=r"several shards \(1, 2\): say which one"):
        use(load(tmp_path))


def test_holders_know_their_shard(tmp_path: Path) -> None:
    configuration = load(tmp_path)
    assert [configuration.shard_of(name) for name in ("e1", "r1", "e2")] == [1, 1, 2]
    assert list(configuration.all_replicas()) == ["e1", "e2"]
    assert list(configuration.all_retransmitters()) == ["r1"]
    with pytest.raises(UsageError, match=r"g1 is neither .* \(there is: e1, r1, e2\)"):
        configuration.shard_of("g1")
    assert load(tmp_path, ONE_OF_EACH).shard_of("r1") == 1


def test_instruments_are_first_where_the_file_or_their_name_puts_them(tmp_path: Path) -> None:
    directory = load(tmp_path).first_directory()
    assert directory.shards == directory.homes == (1, 2)
    assert directory.symbols == {"AAPL": (2,), "MSFT": (rendezvous(b"symbol MSFT", (1, 2)),)}
    assert directory.moving == {}
    alone = load(tmp_path, SMALLEST).first_directory()
    assert (alone.shards, alone.symbols) == ((1,), {"AAPL": (1,)})


@pytest.mark.parametrize("text", [TWO_SHARDS, UNICAST])
def test_saved_configuration_loads_as_it_was(tmp_path: Path, text: str) -> None:
    configuration = load(tmp_path, text)
    copy = tmp_path / "copy.toml"
    configuration.save(copy)
    assert Configuration.load(copy) == configuration


def test_gateway_receives_each_unicast_shard_at_an_address_of_its_own(tmp_path: Path) -> None:
    views = load(tmp_path, UNICAST).by_shard()
    receive = {shard: view.gateways["g1"].receive for shard, view in views.items()}
    assert receive == {1: Address("127.0.0.1", 30403), 2: None}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "[shards.1.feed]",
            "[feed]\n[shards.1.feed]",
            "feed is for an exchange of one shard, and there are sections [shards.N]:"
            " move it to [shards.N.feed]",
        ),
        (
            "[shards.1.retransmitters.r1]",
            "[retransmitters.r1]",
            "retransmitters is for an exchange of one shard, and there are sections [shards.N]:"
            " move it to [shards.N.retransmitters]",
        ),
        (
            "[shards.2.feed]",
            "[shards.2.feed]\nshard = 1",
            "shards.2.feed.shard is 1, and this is shard 2: remove it",
        ),
        (
            'group = "239.255.76.84"',
            "",
            "239.255.76.83:30076 is the feed of shards 1 and 2:"
            " give shards.2.feed another group or port",
        ),
        (
            "[shards.2.replicas.e2]",
            "[shards.2.replicas.e1]",
            "e1 stands 2 times among the process names: change all but one",
        ),
        (
            'replication = "127.0.0.1:30203"',
            'replication = "127.0.0.1:30110"',
            "127.0.0.1:30110 stands 2 times among the UDP addresses: change all but one",
        ),
        (
            'commands = "127.0.0.1:30200"',
            'commands = "127.0.0.1:30100"',
            "127.0.0.1:30100 stands 2 times among the TCP addresses: change all but one",
        ),
        (
            'control = "127.0.0.1:30202"\n',
            "",
            "shards.2.replicas.e2.control is missing: add it",
        ),
        (
            "[shards.1.retransmitters.r1]",
            "[shards.1.retransmitter.r1]",
            "shards.1.retransmitter is not a key that Lockstep knows; did you mean retransmitters?",
        ),
        (
            "[[instruments]]",
            "[shards.3.feed]\nport = 30077\n[[instruments]]",
            "shards.3.replicas is empty: add a section [shards.3.replicas.e1]",
        ),
        (
            "shard = 2",
            "shard = 3",
            "instruments.0.shard is 3, and there is no section [shards.3] (there is: 1, 2)",
        ),
        (
            "[gateways.g1]",
            '[gateways.g1]\nreceive = "127.0.0.1:30301"',
            "gateways.g1.receive is for an exchange of one shard:"
            " use a section [gateways.g1.shard_receive] with a line for each shard",
        ),
        (
            "[gateways.g1]",
            '[gateways.g1]\nshard_receive = {1 = "127.0.0.1:30301"}',
            'gateways.g1.shard_receive.1 is only for shards.1.feed.transport = "unicast":'
            " remove it",
        ),
        (
            "[gateways.g1]",
            '[gateways.g1]\nshard_receive = {3 = "127.0.0.1:30301"}',
            "gateways.g1.shard_receive.3: there is no section [shards.3] (there is: 1, 2)",
        ),
    ],
)
def test_error_names_key_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in TWO_SHARDS
    assert errors(tmp_path, TWO_SHARDS.replace(old, new, 1)) == [expected]


@pytest.mark.parametrize("key", ["0", "65536", "01", "one"])
def test_shard_has_a_number(tmp_path: Path, key: str) -> None:
    (line,) = errors(tmp_path, TWO_SHARDS.replace("[shards.2.", f"[shards.{key}."))
    assert line == f"shards.{key}: {key!r} is not a shard's number; use 1 to 65535"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            '1 = "127.0.0.1:30403"\n',
            "",
            'gateways.g1.shard_receive.1 is missing: transport "unicast" needs it',
        ),
        (
            '1 = "127.0.0.1:30403"\n',
            '1 = "127.0.0.1:30404"\n',
            "gateways.g1.shard_receive.1 127.0.0.1:30404 gets no packets:"
            " add it to shards.1.feed.receivers",
        ),
        (
            '1 = "127.0.0.1:30403"\n',
            '1 = "127.0.0.1:30403"\n2 = "127.0.0.1:30404"\n',
            'gateways.g1.shard_receive.2 is only for shards.2.feed.transport = "unicast":'
            " remove it",
        ),
        (
            'receive = "127.0.0.1:30402"',
            "",
            'shards.1.retransmitters.r1.receive is missing: transport "unicast" needs it',
        ),
        (
            '1 = "127.0.0.1:30403"\n',
            '1 = "127.0.0.1:30402"\n',
            "127.0.0.1:30402 stands 2 times among the UDP addresses: change all but one",
        ),
    ],
)
def test_unicast_feed_needs_every_receiver(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    assert old in UNICAST
    assert errors(tmp_path, UNICAST.replace(old, new, 1)) == [expected]


def test_exchange_of_one_shard_has_nothing_that_several_need(tmp_path: Path) -> None:
    receive = '[gateways.g1]\nshard_receive = {1 = "127.0.0.1:30301"}'
    (line,) = errors(tmp_path, ONE_OF_EACH.replace("[gateways.g1]", receive))
    assert line == (
        "gateways.g1.shard_receive is for an exchange with sections [shards.N]:"
        " use gateways.g1.receive"
    )
    (line,) = errors(tmp_path, SMALLEST + "shard = 2\n")
    assert line == "instruments.0.shard is 2, and the only shard is 1: remove it"
    assert load(tmp_path, SMALLEST + "shard = 1\n").instruments[0].shard == 1


def test_shards_are_no_more_than_a_list_can_mark(tmp_path: Path) -> None:
    sections = "".join(
        f"[shards.{n}]\nfeed.port = {10000 + n}\n[shards.{n}.replicas.e{n}]\n"
        + "".join(
            f'{key} = "127.0.0.1:{20000 + 10 * n + i}"\n'
            for i, key in enumerate(("commands", "repair", "control", "replication"))
        )
        for n in range(1, 66)
    )
    text = f'exchange = "TEST"\n{sections}[[instruments]]\nsymbol = "AAPL"\n'
    assert errors(tmp_path, text) == ["shards has 65 sections: use 64 at most"]


def test_examples_of_the_page_are_what_they_look_like(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "shards.md").read_text()
    example, *_ = re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)
    assert list(load(tmp_path, example).shards) == [1, 2]
    (node,) = re.findall(r"^```json\n(.*?)^```", page, re.M | re.S)
    directory, _ = decode_directory(node.encode())
    assert directory.moving == {"MSFT": 3}
