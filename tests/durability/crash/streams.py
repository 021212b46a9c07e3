"""Streams with a group of consumers, whose ids and pending entries outlast the entries."""

import random
from dataclasses import dataclass, replace
from typing import Any

from tests.durability.crash.subjects import Step, Subject

GROUP, CONSUMER = "group", "consumer"
READ_MAX = 3
START = (0, 0)
Id = tuple[int, int]


@dataclass(frozen=True)
class Stream:
    """What XINFO tells of one."""

    entries: tuple[Id, ...] = ()
    last: Id = START
    added: int = 0
    deleted: Id = START
    """The highest id that was deleted."""
    delivered: Id = START
    pending: tuple[Id, ...] = ()


class Streams(Subject):
    """Two streams; the state has what each is, None where it does not exist."""

    empty = (None, None)
    answers = ("ERR no such key",)

    def choose(self, draw: random.Random, version: int) -> Step:
        """Changes one of them."""
        place = draw.randrange(len(self.keys))
        request, after = self._change(self.keys[place], self.state[place], draw, version)
        return Step([request], (*self.state[:place], after, *self.state[place + 1 :]))

    @staticmethod
    def _change(
        key: str, stream: Stream | None, draw: random.Random, version: int
    ) -> tuple[tuple[Any, ...], Stream | None]:
        if stream is None:
            return ("XGROUP", "CREATE", key, GROUP, 0, "MKSTREAM"), Stream()
        match draw.randrange(12):
            case 0 | 1 if stream.entries:
                gone = stream.entries[-1]
                left = replace(stream, entries=stream.entries[:-1], deleted=max(gone, stream.deleted))
                return ("XDEL", key, text(gone)), left
            case 2 | 3 | 4:
                new = tuple(entry for entry in stream.entries if entry > stream.delivered)[:READ_MAX]
                request = ("XREADGROUP", "GROUP", GROUP, CONSUMER, "COUNT", READ_MAX, "STREAMS", key, ">")
                delivered = new[-1] if new else stream.delivered
                return request, replace(stream, delivered=delivered, pending=(*stream.pending, *new))
            case 5 | 6 if stream.pending:
                return ("XACK", key, GROUP, text(stream.pending[0])), replace(stream, pending=stream.pending[1:])
            case 7:
                return ("XTRIM", key, "MAXLEN", 0), replace(stream, entries=())
            case 8:
                return ("XSETID", key, f"{version}-7"), replace(stream, last=(version, 7))
            case 9 if draw.randrange(3) == 0:
                return ("DEL", key), None
        entry = (version, 0)
        added = replace(stream, entries=(*stream.entries, entry), last=entry, added=stream.added + 1)
        return ("XADD", key, f"{version}-*", "version", version), added

    def questions(self) -> list[tuple[Any, ...]]:
        """All that is known of them."""
        return [("XINFO", "STREAM", key, "FULL", "COUNT", 0) for key in self.keys]

    def told(self, replies: list[Any]) -> tuple[Any, ...]:
        """Streams by what XINFO tells."""
        return tuple(stream_of(reply) if isinstance(reply, list) else None for reply in replies)


def stream_of(reply: list[Any]) -> Stream:
    """What XINFO STREAM FULL tells."""
    told = fields(reply)
    group = fields(told[b"groups"][0])
    return Stream(
        tuple(parsed(entry) for entry, _ in told[b"entries"]),
        parsed(told[b"last-generated-id"]),
        told[b"entries-added"],
        parsed(told[b"max-deleted-entry-id"]),
        parsed(group[b"last-delivered-id"]),
        tuple(parsed(entry) for entry, *_ in group[b"pending"]),
    )


def fields(reply: list[Any]) -> dict[bytes, Any]:
    return dict(zip(reply[::2], reply[1::2], strict=True))


def text(entry: Id) -> str:
    return f"{entry[0]}-{entry[1]}"


def parsed(entry: bytes) -> Id:
    first, second = entry.split(b"-")
    return int(first), int(second)
