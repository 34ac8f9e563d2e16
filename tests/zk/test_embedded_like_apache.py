"""Whatever a client asks for, in whatever order: the embedded server answers as Apache's does."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kazoo.protocol import serialization as judge  # type: ignore[import-untyped]
from kazoo.security import OPEN_ACL_UNSAFE  # type: ignore[import-untyped]

from feed.settings import Address
from tests.zk.raw_client import Answer, RawClient
from tests.zk.servers import with_new_root
from tests.zk.talking import Talker, new_server

_TIMES = ("ctime", "mtime")
_ZXIDS = ("czxid", "mzxid", "pzxid")
_roots = itertools.count()

# The likelier ones stand there more than once, so that most requests are done and not refused.
names = st.sampled_from([*["", "/a", "/a", "/b", "/a/x", "/a/x/deep"] * 3, "/a/", "/b/.", "bad"])
versions = st.sampled_from([-1, -1, -1, 0, 1, 2])
contents = st.sampled_from([b"", b"1", b"four", None])
acls = st.sampled_from([*[OPEN_ACL_UNSAFE] * 9, []])
flags = st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3, 9])
watches = st.sampled_from([True, None])
creates = st.builds(judge.Create, names, contents, acls, flags)
changes = st.one_of(
    creates,
    creates,
    st.builds(judge.Delete, names, versions),
    st.builds(judge.SetData, names, contents, versions),
)
in_a_multi = st.one_of(changes, st.builds(judge.CheckVersion, names, versions))
requests = st.one_of(
    changes,
    changes,
    st.builds(judge.Create2, names, contents, acls, flags),
    st.builds(judge.Transaction, st.lists(in_a_multi, max_size=4)),
    st.builds(judge.Exists, names, watches),
    st.builds(judge.GetData, names, watches),
    st.builds(judge.GetChildren, names, watches),
    st.builds(judge.GetChildren2, names, watches),
    st.builds(judge.GetACL, names),
    st.builds(judge.SetACL, names, acls, versions),
    st.builds(judge.Sync, names),
)


@pytest.fixture(scope="module")
def apache(apache_hosts: str) -> Iterator[RawClient]:
    host, port = with_new_root("apache", apache_hosts).address
    with RawClient(Address(host, port), timeout_ms=60_000) as client:
        yield client
        client.close_session()


@settings(max_examples=150)
@given(asked=st.lists(requests, max_size=14))
def test_the_same_answers_as_apache(apache: RawClient, asked: Sequence[Any]) -> None:
    folder = f"/like-apache-{next(_roots)}"
    embedded = Talker(new_server(), 1)
    root = f"{folder}/root"
    asked = [
        judge.Create(folder, b"", OPEN_ACL_UNSAFE, 0),
        judge.Create(root, b"", OPEN_ACL_UNSAFE, 0),
        judge.Create(f"{root}/a", b"", OPEN_ACL_UNSAFE, 0),
        judge.Create(f"{root}/a/x", b"", OPEN_ACL_UNSAFE, 0),
        *(_below(root, each) for each in asked),
    ]
    theirs = [apache.ask(each) for each in asked]
    ours = [embedded.ask(each) for each in asked]
    assert _comparable(asked, ours) == _comparable(asked, theirs)


def _below(root: str, request: Any) -> Any:
    if isinstance(request, judge.Transaction):
        return judge.Transaction([_below(root, each) for each in request.operations])
    path = request.path if request.path == "bad" else root + request.path
    return request._replace(path=path)


def _comparable(asked: Sequence[Any], answers: Sequence[Answer]) -> list[Any]:
    """The answers without times, and with each change's place instead of its number.

    Apache gives a number to refused changes, too, so that only the order tells something. It
    lists children in no order.
    """
    answers = [
        answer._replace(value=_sorted_children(answer.value))
        if isinstance(request, (judge.GetChildren, judge.GetChildren2))
        else answer
        for request, answer in zip(asked, answers, strict=True)
    ]
    stats = [stat for answer in answers for stat in _stats(answer.value)]
    numbers = sorted({getattr(stat, field) for stat in stats for field in _ZXIDS})
    places = {number: place for place, number in enumerate(numbers)}
    return [(answer.error, _plain(answer.value, places), answer.events) for answer in answers]


def _sorted_children(value: Any) -> Any:
    if isinstance(value, tuple):
        children, stat = value
        return (sorted(children), stat)
    return value and sorted(value)


def _stats(value: Any) -> Iterator[Any]:
    if isinstance(value, judge.ZnodeStat):
        yield value
    elif isinstance(value, (tuple, list)):
        for each in value:
            yield from _stats(each)


def _plain(value: Any, places: dict[int, int]) -> Any:
    if isinstance(value, judge.ZnodeStat):
        fields = dict(value._asdict(), ephemeralOwner=value.ephemeralOwner != 0)
        fields |= {field: None for field in _TIMES}
        return fields | {field: places[fields[field]] for field in _ZXIDS}
    if isinstance(value, Exception):
        return type(value)
    if isinstance(value, tuple):
        return tuple(_plain(each, places) for each in value)
    if isinstance(value, list):
        return [_plain(each, places) for each in value]
    return value
