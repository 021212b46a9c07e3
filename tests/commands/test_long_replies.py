"""Replies with so many elements that they are made in steps: order, clients that send no more, clients that leave."""

import pytest
from tests.targets import Target
from tests.wire import Wire

pytestmark = pytest.mark.all_servers

COUNT = 20_000
KEYS = ("a", "b", "c", "d", "e", "f")
"""Enough for every shard to have some."""
ELEMENTS = [b"%d" % number for number in range(COUNT)]


@pytest.fixture(params=KEYS)
def key(target: Target, request: pytest.FixtureRequest) -> str:
    name: str = request.param
    with Wire(target.host, target.port) as c:
        c("DEL", name)
        for first in range(0, COUNT, 1000):
            c("RPUSH", name, *ELEMENTS[first : first + 1000])
    return name


def test_replies_keep_their_order(target: Target, resp: int, key: str) -> None:
    c = target.connect(resp)
    requests = (("LRANGE", key, 0, -1), ("PING",), ("RPOP", key), ("LRANGE", key, -2, -1), ("LRANGE", key, 1, -1))
    for request in requests:
        c.send(*request)
    assert c.read() == ELEMENTS
    assert c.read() == "PONG"
    assert c.read() == ELEMENTS[-1]
    assert c.read() == ELEMENTS[-3:-1]
    assert c.read() == ELEMENTS[1:-1]


def test_a_transaction_has_it_in_its_place(target: Target, resp: int, key: str) -> None:
    c = target.connect(resp)
    c("MULTI")
    for request in (("LRANGE", key, 0, -1), ("LTRIM", key, 0, 0), ("LRANGE", key, 0, -1), ("DEL", key)):
        c(*request)
    assert c("EXEC") == [ELEMENTS, "OK", [b"0"], 1]


def test_another_client_changes_nothing_of_it(target: Target, resp: int, key: str) -> None:
    c, other = target.connect(resp), target.connect(resp)
    c.send("LRANGE", key, 0, -1)
    c.send("EXISTS", key)
    gone = other("UNLINK", key)
    reply, exists = c.read(), c.read()
    # The one came before the other, whichever that was.
    assert (reply, gone) in ((ELEMENTS, 1), ([], 1))
    assert exists in (0, 1)


def test_a_client_that_leaves_takes_nothing_with_it(target: Target, resp: int, key: str) -> None:
    for _ in range(5):
        leaving = target.connect(resp)
        leaving.send("LRANGE", key, 0, -1)
        leaving.close()
    c = target.connect(resp)
    assert c("LLEN", key) == COUNT
    assert c("LRANGE", key, 0, -1) == ELEMENTS
