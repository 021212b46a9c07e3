"""Keys of which one client knows what has to be in them, and how it changes them."""

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.durability.crash.collections import KINDS, MOST, Kind, Request, Value
from tests.wire import Error, Wire

BACK_WITHIN_S = 300.0
"""Starting a process takes seconds of its own; on a machine that has much else to do, minutes."""
GROUP_KEYS = 3
NEVER = -1
"""Instead of a moment."""
LARGE_BYTES = 300_000
LARGER_BYTES = 3_000_000
"""More than a segment of the log has."""
FAR_MS = 4_000_000_000_000
"""A moment in the next century; the version is added, so that moments differ."""
EXPIRING = ("PEXPIRE", "HPEXPIRE", "PX")
"""What a request has that makes something expire after a millisecond."""

# The commands follow each other as numbers of arguments and arguments.
SCRIPT = """
local at = 1
while at <= #ARGV do
  local count = tonumber(ARGV[at])
  redis.call(unpack(ARGV, at + 1, at + count))
  at = at + count + 1
end
return #ARGV
"""


class LostError(Exception):
    """Something acknowledged is not there, or something is that was never written."""


@dataclass(frozen=True)
class Step:
    """Requests that are executed all or none, and what is in the keys of the subject afterwards."""

    requests: list[Request]
    after: tuple[Any, ...]

    @property
    def expires(self) -> bool:
        """Whether something goes by itself in a moment."""
        return any(word in EXPIRING and "1" in map(str, one) for one in self.requests for word in one)


class Subject(ABC):
    """Keys, mostly of several shards, that one client changes and knows."""

    empty: ClassVar[tuple[Any, ...]]
    is_in_database: ClassVar[bool] = True
    """Whether it goes with its database."""
    answers: ClassVar[tuple[str, ...]] = ()
    """Errors that say that something does not exist."""

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = list(keys)
        self.state = self.empty

    @abstractmethod
    def choose(self, draw: random.Random, version: int) -> Step:
        """A step of some kind."""

    @abstractmethod
    def questions(self) -> list[Request]:
        """Requests that ask for what is in the keys."""

    @abstractmethod
    def told(self, replies: list[Any]) -> tuple[Any, ...]:
        """What is in the keys by the replies."""

    def read(self, c: Wire) -> tuple[Any, ...]:
        """What the node has, once it has it; LostError where that takes too long."""
        deadline = time.monotonic() + BACK_WITHIN_S
        while True:
            replies = c.pipeline(self.questions())
            errors = [reply for reply in replies if isinstance(reply, Error)]
            error = next((one for one in errors if not one.text.startswith(self.answers)), None)
            if error is None:
                return self.told(replies)
            if error.text.startswith("WRONGTYPE"):
                raise LostError(f"{self.keys}: {error.text}")
            if time.monotonic() > deadline:
                raise LostError(f"the node does not come back: {error.text}")
            time.sleep(0.01)


def several(requests: list[Request], keys: list[str], draw: random.Random) -> list[Request]:
    """The requests as one: a transaction or a script."""
    if draw.randrange(2):
        return [("MULTI",), *requests, ("EXEC",)]
    words = [part for request in requests for part in (len(request), *request)]
    return [("EVAL", SCRIPT, len(keys), *keys, *words)]


class Strings(Subject):
    """Strings; the state has the value of each key, and the moment at which it expires."""

    empty = ((None, NEVER),) * GROUP_KEYS

    def choose(self, draw: random.Random, version: int) -> Step:
        """Changes one or all of them."""
        value = b"%d" % version
        (first, at), *others = self.state
        keys = self.keys
        name = keys[0]
        all_new = ((value, NEVER),) * GROUP_KEYS
        match draw.randrange(16):
            case 0 | 1:
                return Step([("MSET", *[part for key in keys for part in (key, value)])], all_new)
            case 2 | 3 | 4:
                return Step(several([("SET", key, value) for key in keys], keys, draw), all_new)
            case 5:
                return Step([(draw.choice(["DEL", "UNLINK"]), *keys)], self.empty)
            case 6 if first is not None:
                return Step([("RENAME", name, keys[1])], ((None, NEVER), self.state[0], *others[1:]))
            case 7 | 8:
                request, after = self._spliced(first or b"", draw, value)
                return Step([request], ((after, at), *others))
            case 9 | 10:
                goes = draw.choice([("SET", name, value, "PX", 1), ("PEXPIRE", name, 1), ("GETDEL", name)])
                return Step([goes], ((None, NEVER), *others))
            case 11:
                at = FAR_MS + version
                if first is not None and draw.randrange(2):
                    return Step([("PEXPIREAT", name, at)], ((first, at), *others))
                return Step([("SET", name, value, "PXAT", at)], ((value, at), *others))
            case 12:
                value *= (LARGER_BYTES if draw.randrange(4) == 0 else LARGE_BYTES) // len(value)
        return Step([("SET", name, value)], ((value, NEVER), *others))

    def _spliced(self, before: bytes, draw: random.Random, value: bytes) -> tuple[Request, bytes]:
        if draw.randrange(2):
            return ("APPEND", self.keys[0], b"+" + value), before + b"+" + value
        place = min(len(before), draw.randrange(2 * len(value)))
        after = before[:place] + value + before[place + len(value) :]
        return ("SETRANGE", self.keys[0], place, value), after

    def questions(self) -> list[Request]:
        """Values, then moments."""
        return [("MGET", *self.keys), *[("PEXPIRETIME", key) for key in self.keys]]

    def told(self, replies: list[Any]) -> tuple[Any, ...]:
        """A key that does not exist never expires."""
        values, *moments = replies
        return tuple((value, max(at, NEVER)) for value, at in zip(values, moments, strict=True))


class Collections(Subject):
    """Two collections of each kind; the state has their values."""

    empty = ((),) * (2 * len(KINDS))

    def __init__(self, name: str) -> None:
        super().__init__([f"{name}:{kind.name}:{number}" for kind in KINDS for number in range(2)])

    def _one(self, place: int, draw: random.Random, version: int, state: Sequence[Value]) -> tuple[Request, Value]:
        change = draw.choice(self._kind(place).changes)
        return change(self.keys[place], state[place], draw, version)

    @staticmethod
    def _kind(place: int) -> Kind:
        return KINDS[place // 2]

    def _together(self, draw: random.Random) -> Step:
        """Both collections of a kind by one request."""
        place = draw.randrange(len(KINDS)) * 2
        one, other = draw.sample([place, place + 1], 2)
        state = list(self.state)
        if draw.randrange(3) == 0 and state[other]:
            request: Request = ("RENAME", self.keys[other], self.keys[one])
            state[one], state[other] = state[other], ()
        else:
            merged = self._kind(place).merged
            request, state[one], state[other] = merged(self.keys[one], self.keys[other], state[one], state[other])
        return Step([request], tuple(state))

    def choose(self, draw: random.Random, version: int) -> Step:
        """Changes one, two of a kind, or some of all kinds."""
        state = list(self.state)
        place = draw.randrange(len(state))
        match draw.randrange(12):
            case 0 | 1:
                return self._together(draw)
            case 2 | 3 | 4:
                places = draw.sample(range(len(state)), 4)
                requests = []
                for place in places:
                    request, state[place] = self._one(place, draw, version, state)
                    requests.append(request)
                return Step(several(requests, [self.keys[place] for place in places], draw), tuple(state))
            case 5:
                gone = draw.sample(range(len(state)), 3)
                after = tuple(() if place in gone else value for place, value in enumerate(state))
                return Step([("DEL", *[self.keys[place] for place in gone])], after)
            case 6:
                state[place] = ()
                return Step([("PEXPIRE", self.keys[place], 1)], tuple(state))
            case _:
                if len(state[place]) > MOST:
                    state[place] = ()
                    return Step([("UNLINK", self.keys[place])], tuple(state))
                request, state[place] = self._one(place, draw, version, state)
                return Step([request], tuple(state))

    def questions(self) -> list[Request]:
        """All elements."""
        return [self._kind(place).read(key) for place, key in enumerate(self.keys)]

    def told(self, replies: list[Any]) -> tuple[Any, ...]:
        """The elements in the order of the model."""
        return tuple(self._kind(place).value(reply) for place, reply in enumerate(replies))


def difference(found: tuple[Any, ...], expected: tuple[Any, ...], keys: list[str]) -> str:
    """The keys that differ, and how."""
    told = [
        f"{key}: found {short(here)}, expected {short(there)}"
        for key, here, there in zip(keys, found, expected, strict=True)
        if here != there
    ]
    return "; ".join(told) or "nothing"


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else f"{text[:160]}... ({len(text)} characters)"
