"""Transfers between accounts that all clients change: none is lost, and none is there by half."""

import random
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from tests.durability.crash.collections import Request
from tests.durability.crash.subjects import BACK_WITHIN_S, LostError
from tests.wire import OK, ConnectionEndedError, Error, Wire

ACCOUNTS = 6
MOST = 1000


def account(number: int) -> str:
    """A key of database 0; of all of them together the sum stays 0."""
    return f"{'sync:' if number % 2 else ''}account:{number}"


ALL_ACCOUNTS = [account(number) for number in range(ACCOUNTS)]


class Transfers:
    """What one client has moved, with a key that says which transfer was its last one."""

    def __init__(self, number: int) -> None:
        self.key = f"moved:{number}"
        self.database = number + 1
        self.last = 0
        self.moved: Counter[str] = Counter()
        self.in_hand: Counter[str] = Counter()
        """What a transfer moves whose outcome is not known."""

    def make(self, c: Wire, draw: random.Random) -> bool:
        """Moves something by a transaction, and looks at the sum; true where it was acknowledged."""
        one, other = draw.sample(ALL_ACCOUNTS, 2)
        amount = draw.randrange(1, MOST)
        self.in_hand = Counter({one: -amount, other: amount})
        steps = [("DECRBY", one, amount), ("INCRBY", other, amount), ("SET", self.key, self.last + 1)]
        executed, values = self._ask(c, [("MULTI",), *steps, ("EXEC",), ("MGET", *ALL_ACCOUNTS)])[-2:]
        check_sum(values)
        is_acknowledged = isinstance(executed, list) and not any(isinstance(reply, Error) for reply in executed)
        if is_acknowledged:
            self._is_made()
        else:
            self.settle(c)
        return is_acknowledged

    def settle(self, c: Wire) -> None:
        """Finds out what has become of the transfer in hand, and that the last one before is there."""
        deadline = time.monotonic() + BACK_WITHIN_S
        while isinstance(found := self._ask(c, [("GET", self.key)])[0], Error):
            if time.monotonic() > deadline:
                raise LostError(f"the node does not come back: {found.text}")
            time.sleep(0.01)
        if self.in_hand and int(found or 0) == self.last + 1:
            self._is_made()
        elif int(found or 0) != self.last:
            raise LostError(f"transfer {self.last} was acknowledged, and {found} is the last one")
        self.in_hand = Counter()

    def _is_made(self) -> None:
        self.moved.update(self.in_hand)
        self.in_hand = Counter()
        self.last += 1

    def _ask(self, c: Wire, requests: list[Request]) -> list[Any]:
        replies = c.pipeline([("SELECT", 0), *requests, ("SELECT", self.database)])
        if replies[-1] != OK:
            raise ConnectionEndedError(repr(replies).encode())
        return replies[1:-1]


def check_sum(values: Any) -> None:
    """LostError where half of a transfer is there."""
    if isinstance(values, Error):
        return
    total = sum(int(value or 0) for value in values)
    if total:
        raise LostError(f"half of a transfer: the accounts have {values}, together {total}")


def check_accounts(c: Wire, transfers: Iterable[Transfers]) -> None:
    """LostError where the accounts have not what all have moved together, who have ended."""
    values = c("MGET", *ALL_ACCOUNTS)
    check_sum(values)
    expected: Counter[str] = Counter()
    for one in transfers:
        expected.update(one.moved)
    found = {name: int(value or 0) for name, value in zip(ALL_ACCOUNTS, values, strict=True)}
    if any(found[name] != expected[name] for name in ALL_ACCOUNTS):
        raise LostError(f"a transfer is lost: the accounts have {found}, moved was {dict(expected)}")
