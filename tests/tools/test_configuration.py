"""The configuration file: what it may hold, and how its errors read."""

from pathlib import Path

import pytest

from feed.settings import Address, FailoverSettings, JournalSettings, SyncPolicy
from tools.configuration import Configuration, ConfigurationError

SMALLEST = """
exchange = "TEST"

[replicas.e1]
commands = "127.0.0.1:30100"
repair = "127.0.0.1:30101"
control = "127.0.0.1:30102"
replication = "127.0.0.1:30103"

[[instruments]]
symbol = "AAPL"
"""
ONE_OF_EACH = (
    SMALLEST
    + """
[retransmitters.r1]
repair = "127.0.0.1:30200"
replication = "127.0.0.1:30203"

[gateways.g1]
listen = "127.0.0.1:30300"
clients = "clients.toml"
tls_certificate = "/etc/lockstep/certificate.pem"
tls_key = "key.pem"

[journal]
folder = "days"
"""
)


def write(folder: Path, text: str) -> Path:
    path = folder / "exchange.toml"
    path.write_text(text)
    return path


def errors(folder: Path, text: str) -> list[str]:
    path = write(folder, text)
    with pytest.raises(ConfigurationError) as raised:
        Configuration.load(path)
    lines = str(raised.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_smallest_file_gets_the_defaults(tmp_path: Path) -> None:
    configuration = Configuration.load(write(tmp_path, SMALLEST))
    assert configuration.feed.transport == "multicast"
    assert configuration.feed.ttl == 0
    assert [each.symbol for each in configuration.instruments] == ["AAPL"]
    assert configuration.gateways == {}
    assert configuration.zookeeper.hosts == "127.0.0.1:2181"
    assert configuration.failover == FailoverSettings()
    assert configuration.journal is None
    assert not configuration.replicas["e1"].drills


def test_relative_paths_start_from_the_files_folder(tmp_path: Path) -> None:
    gateway = Configuration.load(write(tmp_path, ONE_OF_EACH)).gateways["g1"]
    assert gateway.clients == tmp_path / "clients.toml"
    assert gateway.tls_key == tmp_path / "key.pem"
    assert gateway.tls_certificate == Path("/etc/lockstep/certificate.pem")


def test_journals_are_beside_the_file_unless_their_folder_is_elsewhere(tmp_path: Path) -> None:
    journal = Configuration.load(write(tmp_path, ONE_OF_EACH)).journal
    assert journal is not None
    assert journal.folder == tmp_path / "days"
    assert journal.folder_of(1, "e1").is_relative_to(tmp_path / "days")
    assert journal.sync is SyncPolicy.GROUP
    elsewhere = ONE_OF_EACH.replace('"days"', '"/var/lockstep"')
    assert Configuration.load(write(tmp_path, elsewhere)).journal == JournalSettings(
        folder=Path("/var/lockstep")
    )


def test_saved_configuration_loads_as_it_was(tmp_path: Path) -> None:
    configuration = Configuration.load(write(tmp_path, ONE_OF_EACH))
    copy = tmp_path / "copy.toml"
    configuration.save(copy)
    assert Configuration.load(copy) == configuration


def test_receivers_ask_every_retransmitter_and_no_replica(tmp_path: Path) -> None:
    text = ONE_OF_EACH + (
        '[retransmitters.r2]\nrepair = "127.0.0.1:30201"\nreplication = "127.0.0.1:30204"\n'
    )
    configuration = Configuration.load(write(tmp_path, text))
    first, second = Address("127.0.0.1", 30200), Address("127.0.0.1", 30201)
    assert configuration.repair_addresses() == (first, second)


def test_without_retransmitters_the_replicas_are_asked(tmp_path: Path) -> None:
    configuration = Configuration.load(write(tmp_path, SMALLEST))
    assert configuration.repair_addresses() == (Address("127.0.0.1", 30101),)


def test_replicas_and_retransmitters_are_the_holders_of_the_shard(tmp_path: Path) -> None:
    configuration = Configuration.load(write(tmp_path, ONE_OF_EACH))
    shard = configuration.shard_settings()
    assert list(shard.holders) == ["e1", "r1"]
    assert (shard.feed, shard.failover) == (configuration.feed, configuration.failover)
    assert shard.journal == configuration.journal is not None


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml: No such file"):
        Configuration.load(tmp_path / "nowhere.toml")


def test_what_is_not_toml_is_told_with_its_line(tmp_path: Path) -> None:
    (line,) = errors(tmp_path, 'exchange = "TEST"\nfeed = ?\n')
    assert line.startswith("not TOML: ")
    assert "line 2" in line


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            'control = "127.0.0.1:30102"\n',
            "",
            "replicas.e1.control is missing: add it",
        ),
        (
            'control = "127.0.0.1:30102"',
            'controll = "127.0.0.1:30102"\ncontrol = "127.0.0.1:30102"',
            "replicas.e1.controll is not a key that Lockstep knows; did you mean control?",
        ),
        (
            'listen = "127.0.0.1:30300"',
            'listen = "30300"',
            "gateways.g1.listen: '30300' is not an address; write it as \"host:port\"",
        ),
        (
            'symbol = "AAPL"',
            'symbol = "AAPL"\ntick_size = 0',
            "instruments.0.tick_size is 0; it should be greater than or equal to 1",
        ),
        (
            'symbol = "AAPL"',
            'symbol = "AAPL"\nsymbols = "AAPL"',
            "instruments.0.symbols is not a key that Lockstep knows; did you mean symbol?",
        ),
        (
            'symbol = "AAPL"',
            'symbol = "AAPL"\nxyzzy = 1',
            "instruments.0.xyzzy is not a key that Lockstep knows; "
            "known keys here: lot_size, shard, short_sale, symbol, tick_size",
        ),
        (
            'exchange = "TEST"',
            'exchange = "THE EXCHANGE"',
            "exchange: 'THE EXCHANGE' is not an exchange's name; use 1 to 10 letters and digits",
        ),
        (
            'repair = "127.0.0.1:30200"',
            'repair = "127.0.0.1:30101"',
            "127.0.0.1:30101 stands 2 times among the UDP addresses: change all but one",
        ),
        (
            'control = "127.0.0.1:30102"',
            'control = "127.0.0.1:30300"',
            "127.0.0.1:30300 stands 2 times among the TCP addresses: change all but one",
        ),
        (
            'replication = "127.0.0.1:30203"',
            'replication = "127.0.0.1:30101"',
            "127.0.0.1:30101 stands 2 times among the UDP addresses: change all but one",
        ),
        (
            'listen = "127.0.0.1:30300"',
            'listen = "127.0.0.1:2181"',
            "127.0.0.1:2181 stands 2 times among the TCP addresses: change all but one",
        ),
        (
            'control = "127.0.0.1:30102"',
            'control = "127.0.0.1:30101"',
            "127.0.0.1:30101 stands 2 times among the TCP addresses: change all but one",
        ),
        (
            'listen = "127.0.0.1:30300"',
            'listen = "127.0.0.1:30200"',
            "127.0.0.1:30200 stands 2 times among the TCP addresses: change all but one",
        ),
        (
            'folder = "days"',
            "",
            "journal.folder is missing: add it",
        ),
        (
            'folder = "days"',
            'folder = "days"\nsnapshot_frame = 1000',
            "journal.snapshot_frame is not a key that Lockstep knows; "
            "did you mean snapshot_frames?",
        ),
        (
            'folder = "days"',
            'folder = "days"\nsync = "always"',
            "journal.sync is 'always'; it should be 'group', 'interval' or 'never'",
        ),
        (
            'folder = "days"',
            'folder = "days"\nsync_interval_ms = 20',
            'journal.sync_interval_ms is only for sync = "interval": remove it',
        ),
        (
            'exchange = "TEST"',
            'exchange = "TEST"\nzookeeper = { hosts = "10.0.0.1:2181, zoo2" }',
            "zookeeper.hosts is '10.0.0.1:2181, zoo2'; "
            'write it as "host:port", with commas between several and no blanks',
        ),
        (
            'exchange = "TEST"',
            'exchange = "TEST"\nzookeeper = { root = "lockstep" }',
            'zookeeper.root is \'lockstep\'; write it as "/name" or "/name/name"',
        ),
        (
            'exchange = "TEST"',
            'exchange = "TEST"\nzookeeper = { session_timeout_ms = 500 }',
            "zookeeper.session_timeout_ms is 500; it should be greater than or equal to 1000",
        ),
        (
            'exchange = "TEST"',
            'exchange = "TEST"\nfailover = { suspicion_time_ms = 5 }',
            "failover: a suspicion_time_ms of 5 makes one lost heartbeat look like a death: "
            "use at least 2 x 5",
        ),
        (
            "[gateways.g1]",
            "[gateways.r1]",
            "r1 stands 2 times among the process names: change all but one",
        ),
        (
            'symbol = "AAPL"',
            'symbol = "AAPL"\n[[instruments]]\nsymbol = "AAPL"',
            "AAPL stands 2 times among the instruments: change all but one",
        ),
        (
            'repair = "127.0.0.1:30200"',
            'repair = "127.0.0.1:30200"\nreceive = "127.0.0.1:30201"',
            'retransmitters.r1.receive is only for feed.transport = "unicast": remove it',
        ),
    ],
)
def test_error_names_key_and_remedy(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert old in ONE_OF_EACH
    assert errors(tmp_path, ONE_OF_EACH.replace(old, new)) == [expected]


def test_every_error_has_a_line(tmp_path: Path) -> None:
    text = ONE_OF_EACH.replace('"127.0.0.1:30102"', '"?"').replace('symbol = "AAPL"', "")
    assert errors(tmp_path, text) == [
        "instruments.0.symbol is missing: add it",
        "replicas.e1.control: '?' is not an address; write it as \"host:port\"",
    ]


@pytest.mark.parametrize("section", ["replicas", "retransmitters"])
@pytest.mark.parametrize("name", ["a-holder-of-17-ch", "e.1", ""])
def test_holders_name_fits_the_frames_that_it_stands_in(
    tmp_path: Path, section: str, name: str
) -> None:
    old = "[replicas.e1]" if section == "replicas" else "[retransmitters.r1]"
    (line,) = errors(tmp_path, ONE_OF_EACH.replace(old, f'[{section}."{name}"]'))
    assert line == (
        f"{section}.{name}: {name!r} is not a holder's name; "
        "use 1 to 16 letters, digits, '-' and '_'"
    )


def test_interval_of_syncs_may_be_said_where_there_is_one(tmp_path: Path) -> None:
    text = ONE_OF_EACH + 'sync = "interval"\nsync_interval_ms = 20\n'
    journal = Configuration.load(write(tmp_path, text)).journal
    assert journal is not None
    assert (journal.sync, journal.sync_interval_ms) == (SyncPolicy.INTERVAL, 20)


def test_an_exchange_has_a_replica(tmp_path: Path) -> None:
    without = SMALLEST[: SMALLEST.index("[replicas")] + SMALLEST[SMALLEST.index("[[instruments") :]
    assert errors(tmp_path, without) == ["replicas is missing: add it"]
    assert errors(tmp_path, "replicas = {}" + without) == [
        "replicas is empty: add a section [replicas.e1]"
    ]


def test_an_exchange_lists_something(tmp_path: Path) -> None:
    text = "instruments = []\n" + SMALLEST.replace('[[instruments]]\nsymbol = "AAPL"', "")
    assert errors(tmp_path, text) == ["instruments is empty: list at least one"]


def test_unicast_needs_each_receiver_in_the_list(tmp_path: Path) -> None:
    feed = '[feed]\ntransport = "unicast"\nreceivers = ["127.0.0.1:30400"]\n'
    text = ONE_OF_EACH.replace(
        'repair = "127.0.0.1:30200"', 'repair = "127.0.0.1:30200"\nreceive = "127.0.0.1:30401"'
    )
    (line,) = errors(tmp_path, text + feed)
    assert line.split("; ") == [
        'replicas.e1.receive is missing: transport "unicast" needs it',
        "retransmitters.r1.receive 127.0.0.1:30401 gets no packets: add it to feed.receivers",
        'gateways.g1.receive is missing: transport "unicast" needs it',
    ]
