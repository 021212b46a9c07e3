"""Many like commands in one transaction."""

from collections.abc import Callable

import numpy as np
import pytest
import redis
from tests.node import Node

from mithril.dedup.redis_bulk import command, commands, exchange

ROWS = np.array([[49, 50], [51, 52]], np.uint8)


def test_commands_are_those_of_the_protocol() -> None:
    made = commands(2, (b"SET",), (b"key:", ROWS), (ROWS, b"\r\n"))
    assert made == b"".join(
        b"*3\r\n$3\r\nSET\r\n$6\r\nkey:%s\r\n$4\r\n%s\r\n\r\n" % (digits, digits) for digits in (b"12", b"34")
    )
    assert commands(0, (b"PING",)) == b""


def test_one_command_has_its_arguments_again_and_again() -> None:
    made = command(b"HCLAIM", 2, (b"key:", ROWS), (b"f",), (ROWS,))
    assert made == b"*7\r\n$6\r\nHCLAIM\r\n" + b"".join(
        b"$6\r\nkey:%s\r\n$1\r\nf\r\n$2\r\n%s\r\n" % (digits, digits) for digits in (b"12", b"34")
    )


@pytest.mark.parametrize("transaction", [False, True])
def test_replies_come_in_order_and_an_error_is_raised(nodes: Callable[[int], Node], transaction: bool) -> None:
    with redis.Redis(port=nodes(1).port, single_connection_client=False) as client:
        client.flushall()
        writes = commands(2, (b"SET",), (b"key:", ROWS), (ROWS,))
        reads = commands(2, (b"GET",), (b"key:", ROWS))
        replies = exchange(client, [writes, reads], 4, transaction=transaction)
        assert replies[2:] == [b"12", b"34"]
        wrong = commands(2, (b"LPUSH",), (b"key:", ROWS), (ROWS,))
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            exchange(client, [wrong, reads], 4, transaction=transaction)
        # Nothing of that is left for who asks next.
        assert client.get("key:12") == b"12"
        assert exchange(client, [reads], 2, transaction=transaction) == [b"12", b"34"]
