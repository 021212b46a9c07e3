"""What `crash` compares: a change behind the back of a client is seen."""

import random
from collections.abc import Iterator

import pytest
from tests.durability.crash.collections import Request
from tests.durability.crash.marks import Fields, Pinned
from tests.durability.crash.rounds import Rounds
from tests.durability.crash.settings import CODE, Settings
from tests.durability.crash.streams import Streams
from tests.durability.crash.subjects import FAR_MS, LostError, Strings, Subject
from tests.durability.crash.transfers import ALL_ACCOUNTS, Transfers, check_accounts
from tests.node import HOST
from tests.wire import Error, Wire

READ = ("XREADGROUP", "GROUP", "group", "consumer", "COUNT", 1, "STREAMS", "s", ">")
GROUP: list[Request] = [("XGROUP", "CREATE", "s", "group", 0, "MKSTREAM"), ("XADD", "s", "5-1", "a", 1)]
LIBRARY = CODE.format(name="own0", version=1)
CASES: list[tuple[Subject, list[Request], Request]] = [
    (Strings(["x", "y", "z"]), [("SET", "x", 1, "PXAT", FAR_MS)], ("PEXPIREAT", "x", FAR_MS + 1)),
    (Strings(["x", "y", "z"]), [("SET", "x", 1, "PXAT", FAR_MS)], ("PERSIST", "x")),
    (Pinned(["p", "q", "r"]), [("SET", "p", 1), ("PIN", "p", "PX", 1_000_000)], ("UNPIN", "p")),
    (Fields(["h", "i"]), [("HSET", "h", "f1", 1)], ("HPEXPIREAT", "h", FAR_MS, "FIELDS", 1, "f1")),
    (Streams(["s", "t"]), GROUP, ("XSETID", "s", "6-1")),
    (Streams(["s", "t"]), GROUP, ("XADD", "s", "5-2", "a", 1)),
    (Streams(["s", "t"]), GROUP, ("XDEL", "s", "5-1")),
    (Streams(["s", "t"]), GROUP, READ),
    (Streams(["s", "t"]), [*GROUP, READ], ("XACK", "s", "group", "5-1")),
    (Settings(0), [("FUNCTION", "LOAD", LIBRARY)], ("FUNCTION", "DELETE", "own0")),
    (Settings(0), [("NAMESPACE", "SET", "own0:", "sync")], ("NAMESPACE", "SET", "own0:", "fast")),
    (Settings(0), [("ACL", "SETUSER", "user0", "~1:*")], ("ACL", "SETUSER", "user0", "resetkeys", "~2:*")),
    (Settings(0), [("ACL", "SETUSER", "user0", "resetkeys", "~1:*")], ("ACL", "DELUSER", "user0")),
]


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    rounds = Rounds(tmp_path_factory.mktemp("node"), 1)
    try:
        with Wire(HOST, rounds.node.port) as wire:
            yield wire
    finally:
        rounds.close()


@pytest.mark.parametrize(("subject", "before", "change"), CASES)
def test_a_change_is_seen(c: Wire, subject: Subject, before: list[Request], change: Request) -> None:
    c("FLUSHALL")
    assert not [reply for reply in c.pipeline(before) if isinstance(reply, Error)]
    known = subject.read(c)
    assert known != subject.empty
    assert subject.read(c) == known
    assert not isinstance(c(*change), Error)
    assert subject.read(c) != known


def test_a_transfer_that_is_taken_back_is_seen(c: Wire) -> None:
    c("FLUSHALL")
    transfers = [Transfers(0), Transfers(1)]
    for one in transfers:
        assert one.make(c, random.Random(7))
    c("SELECT", 0)
    check_accounts(c, transfers)
    c("INCRBY", ALL_ACCOUNTS[0], 1)
    with pytest.raises(LostError, match="half of a transfer"):
        check_accounts(c, transfers)
    c("DECRBY", ALL_ACCOUNTS[1], 1)
    with pytest.raises(LostError, match="a transfer is lost"):
        check_accounts(c, transfers)
    c("DEL", transfers[0].key)
    with pytest.raises(LostError, match="transfer 1 was acknowledged"):
        transfers[0].settle(c)
