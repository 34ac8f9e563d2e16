"""The embedded server's tree stays whole, and a transaction that fails leaves no trace."""

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zk.jute import OPEN_ACL, ErrorCode
from zk.tree import RefusedError, Transaction, Tree

NOW_MS = 1_700_000_000_000
SESSIONS = (11, 22)
Operation = tuple[str, tuple[Any, ...]]

paths = st.sampled_from(["/a", "/a", "/b", "/a/x", "/a/y", "/a/x/deep", "/b/x", "/a/"])
versions = st.sampled_from([-1, -1, -1, 0, 1])
contents = st.sampled_from([b"", b"1", b"1234", None])
operations = st.one_of(
    st.tuples(
        st.just("create"),
        st.tuples(paths, contents, st.just(OPEN_ACL), st.sampled_from([0, 0, 0, 1, 2, 3])),
    ),
    st.tuples(st.just("delete"), st.tuples(paths, versions)),
    st.tuples(st.just("set_data"), st.tuples(paths, contents, versions)),
    st.tuples(st.just("set_acl"), st.tuples(paths, st.just(OPEN_ACL), versions)),
    st.tuples(st.just("check"), st.tuples(paths, versions)),
)
transactions = st.tuples(st.sampled_from(SESSIONS), st.lists(operations, min_size=1, max_size=5))


def everything(tree: Tree) -> Any:
    """All that anybody could ever see of a tree."""
    found = {}
    waiting = ["/"]
    while waiting:
        path = waiting.pop()
        node = tree.node(path)
        found[path] = (node.data, node.stat(), node.creates)
        waiting += [f"{path.rstrip('/')}/{name}" for name in node.children]
    return found, tree.zxid, {each: sorted(tree.ephemerals(each)) for each in SESSIONS}


def do(change: Transaction, wanted: Sequence[Operation]) -> None:
    for name, arguments in wanted:
        getattr(change, name)(*arguments)


@given(st.lists(transactions, max_size=12))
def test_a_refused_transaction_leaves_no_trace(history: Sequence[Any]) -> None:
    tree = Tree(NOW_MS)
    for step, (session_id, wanted) in enumerate(history):
        before = everything(tree)
        try:
            with tree.transaction(NOW_MS + step, session_id) as change:
                do(change, wanted)
        except RefusedError:
            assert everything(tree) == before
            assert change.events == []
        else:
            assert tree.zxid == before[1] + 1
        tree.check()


@given(st.lists(transactions, max_size=12))
def test_any_other_failure_leaves_no_trace_either(history: Sequence[Any]) -> None:
    tree = Tree(NOW_MS)
    for session_id, wanted in history:
        before = everything(tree)
        with pytest.raises(ZeroDivisionError):
            do_what_is_allowed_and_fail(tree, session_id, wanted)
        assert everything(tree) == before
        tree.check()
        with tree.transaction(NOW_MS, session_id) as change:
            do_what_is_allowed(change, wanted)
        tree.check()


def do_what_is_allowed(change: Transaction, wanted: Sequence[Operation]) -> None:
    for operation in wanted:
        with contextlib.suppress(RefusedError):
            do(change, [operation])


def do_what_is_allowed_and_fail(tree: Tree, session_id: int, wanted: Sequence[Operation]) -> None:
    with tree.transaction(NOW_MS, session_id) as change:
        do_what_is_allowed(change, wanted)
        raise ZeroDivisionError


def test_ephemeral_nodes_are_known_by_their_session() -> None:
    tree = Tree(NOW_MS)
    with tree.transaction(NOW_MS, 11) as change:
        change.create("/mine", b"", OPEN_ACL, 1)
        change.create("/everybody's", b"", OPEN_ACL, 0)
    with tree.transaction(NOW_MS, 22) as change:
        change.create("/everybody's/yours", b"", OPEN_ACL, 1)
        change.set_data("/mine", b"changed by another", -1)
    assert tree.ephemerals(11) == ["/mine"]
    assert tree.ephemerals(22) == ["/everybody's/yours"]
    with tree.transaction(NOW_MS, 22) as change:
        change.delete("/mine")
    assert tree.ephemerals(11) == []


def test_a_new_tree_has_what_a_new_server_of_apache_has() -> None:
    tree = Tree(NOW_MS)
    tree.check()
    assert list(tree.node("/").children) == ["zookeeper"]
    assert list(tree.node("/zookeeper").children) == ["config", "quota"]
    assert tree.node("/").stat()["cversion"] == -1
    with pytest.raises(RefusedError) as refusal:
        tree.node("/missing")
    assert refusal.value.code is ErrorCode.NO_NODE
