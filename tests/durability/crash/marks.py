"""What keys have beside their values: pins, and moments at which fields expire."""

import random
from typing import Any

from tests.durability.crash.collections import Request
from tests.durability.crash.subjects import FAR_MS, Step, Subject, several

FIELDS = 4
PIN_MS = 100_000_000


class Pinned(Subject):
    """Strings; the state has the value of each key, and whether it is pinned."""

    empty = ((None, False),) * 3

    def choose(self, draw: random.Random, version: int) -> Step:
        """Changes one or all of them."""
        place, value, state = draw.randrange(len(self.keys)), b"%d" % version, list(self.state)
        key, (before, is_pinned) = self.keys[place], state[place]
        match draw.randrange(10):
            case 0 | 1 if before is not None:
                state[place] = (before, True)
                return Step([("PIN", key, "PX", PIN_MS)], tuple(state))
            case 2 if before is not None:
                state[place] = (before, False)
                return Step([("UNPIN", key)], tuple(state))
            case 3:
                state[place] = (None, False)
                return Step([("DEL", key)], tuple(state))
            case 4 | 5:
                requests = [
                    request for one in self.keys for request in (("SET", one, value), ("PIN", one, "PX", PIN_MS))
                ]
                return Step(several(requests, self.keys, draw), ((value, True),) * len(self.keys))
            case 6 if before is not None:
                other = (place + 1) % len(self.keys)
                # The name that is overwritten keeps its pin.
                state[other], state[place] = (before, is_pinned or state[other][1]), (None, False)
                return Step([("RENAME", key, self.keys[other])], tuple(state))
        state[place] = (value, is_pinned)
        return Step([("SET", key, value)], tuple(state))

    def questions(self) -> list[Request]:
        """Values, then how long pins hold."""
        return [("MGET", *self.keys), *[("PINTTL", key) for key in self.keys]]

    def told(self, replies: list[Any]) -> tuple[Any, ...]:
        """A pin holds longer than any test takes."""
        values, *left = replies
        return tuple((value, one > 0) for value, one in zip(values, left, strict=True))


class Fields(Subject):
    """Two hashes; the state has fields, values and the moments at which these expire."""

    empty = ((), ())

    def choose(self, draw: random.Random, version: int) -> Step:
        """Changes a field, or takes one hash to the other's place."""
        place, field = draw.randrange(2), b"f%d" % draw.randrange(FIELDS)
        key, hashes = self.keys[place], list(self.state)
        found = {name: (value, at) for name, value, at in hashes[place]}
        match draw.randrange(10):
            case 0 | 1 | 2 if field in found:
                found[field] = (found[field][0], FAR_MS + version)
                request: Request = ("HPEXPIREAT", key, FAR_MS + version, "FIELDS", 1, field)
            case 3 if field in found:
                found[field] = (found[field][0], -1)
                request = ("HPERSIST", key, "FIELDS", 1, field)
            case 4 if field in found:
                del found[field]
                request = ("HDEL", key, field)
            case 5 if found:
                words = draw.choice([("RENAME",), ("COPY", "REPLACE")])
                hashes[1 - place] = hashes[place]
                if words == ("RENAME",):
                    found = {}
                request = (words[0], key, self.keys[1 - place], *words[1:])
            case _:
                found[field] = (b"%d" % version, -1)
                request = ("HSET", key, field, version)
        hashes[place] = tuple(sorted((name, value, at) for name, (value, at) in found.items()))
        return Step([request], tuple(hashes))

    def questions(self) -> list[Request]:
        """Fields of each hash, then their moments."""
        names = [b"f%d" % number for number in range(FIELDS)]
        return [
            question
            for key in self.keys
            for question in (("HMGET", key, *names), ("HPEXPIRETIME", key, "FIELDS", FIELDS, *names))
        ]

    def told(self, replies: list[Any]) -> tuple[Any, ...]:
        """A missing field has no value."""
        return tuple(
            tuple(
                (b"f%d" % number, value, at)
                for number, (value, at) in enumerate(zip(values, moments, strict=True))
                if value is not None
            )
            for values, moments in zip(replies[::2], replies[1::2], strict=True)
        )
