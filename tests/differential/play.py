"""Two servers are asked the same, and have to say and to keep the same."""

from collections import Counter
from dataclasses import dataclass, field

from tests.differential.alphabets import OPTIONS
from tests.differential.contents import Contents, contents, dumps, restored
from tests.differential.replies import Reader, same
from tests.differential.shapes import Play, Step
from tests.differential.table import GROUPS
from tests.wire import Wire, encode


class DifferenceError(AssertionError):
    """The servers differ: where, and what each said."""

    def __init__(self, at: str, ours: object, theirs: object) -> None:
        super().__init__(f"{at}\n  ours: {ours!r}\n  theirs: {theirs!r}")
        self.at = at


@dataclass
class Coverage:
    """What was reached."""

    requests: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    succeeded: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    def note(self, step: Step, reply: bytes) -> None:
        """Counts a request and what came of it."""
        self.requests += 1
        self.rows[step.row] += 1
        if reply.startswith(b"-"):
            self.errors[reply[1:60].split(b"'")[0].decode("utf-8", "replace").strip()] += 1
        else:
            self.succeeded[step.row] += 1

    def report(self) -> str:
        """Lines for people."""
        rows = {row for group in GROUPS.values() for row in group.strip().splitlines()}
        unreached = sorted(rows - set(self.succeeded))
        lines = [
            f"{self.requests} requests, {len(self.succeeded.keys() & rows)} of {len(rows)} rows succeeded",
            f"{len(self.errors)} error texts: "
            + "; ".join(f"{text} ({count})" for text, count in self.errors.most_common()),
        ]
        return "\n".join(lines + [f"never succeeded: {row}" for row in unreached])


def _started(c: Wire, play: Play, resp: int) -> None:
    c.pipeline([("RESET",)])
    sizes = [word for name, sizes in OPTIONS.items() for word in (name, sizes[play.is_small])]
    flushes = [("FLUSHALL",), ("SCRIPT", "FLUSH"), ("FUNCTION", "FLUSH")]
    ok = c.pipeline([("CONFIG", "SET", *sizes), *flushes, ("HELLO", resp)])
    assert ok[:4] == ["OK"] * 4, ok


def restore_sizes(c: Wire) -> None:
    """Gives a server the sizes of small collections that it has by itself."""
    c.pipeline([("RESET",)])
    assert c("CONFIG", "SET", *(word for name, sizes in OPTIONS.items() for word in (name, sizes[0]))) == "OK"


def replies_of(c: Wire, play: Play, resp: int) -> list[bytes]:
    """The bytes of every reply, from an empty server and a fresh session on."""
    _started(c, play, resp)
    c.send_raw(b"".join(encode(*step.request) for step in play.steps))
    return [c.read_bytes() for _ in play.steps]


def _elements(raw: bytes) -> list[bytes] | None:
    """The bytes of each element of an array."""
    if not raw.startswith(b"*") or raw.startswith(b"*-1"):
        return None
    head = raw.index(b"\r\n") + 2
    reader, parts = Reader(raw[head:]), []
    for _ in range(int(raw[1 : head - 2])):
        start = reader.at
        reader.read()
        parts.append(raw[head + start : head + reader.at])
    return parts


def compare_replies(steps: tuple[Step, ...], ours: list[bytes], theirs: list[bytes], coverage: Coverage) -> None:
    """Looks at all replies; EXEC's by what was queued."""
    queued: list[Step] = []
    for step, one, two in zip(steps, ours, theirs, strict=True):
        name = step.request[0].upper()
        if two == b"+QUEUED\r\n":
            queued.append(step)
        elif name == b"EXEC" and (inner := _elements(two)) is not None:
            mine = _elements(one)
            if mine is None or len(mine) != len(inner):
                raise DifferenceError(repr(step), one, two)
            for part, *both in zip(queued, mine, inner, strict=True):
                coverage.note(part, both[1])
                _check(part, *both)
        else:
            coverage.note(step, two)
        if name in (b"EXEC", b"DISCARD"):
            queued = []
        if name != b"EXEC" or one[:1] != b"*":
            _check(step, one, two)


def _check(step: Step, one: bytes, two: bytes) -> None:
    if not same(step.request, one, two):
        raise DifferenceError(repr(step), one, two)


def compare_contents(what: str, ours: Contents, theirs: Contents) -> None:
    """Looks at all keys."""
    for key in sorted(ours.keys() | theirs.keys()):
        one, two = ours.get(key), theirs.get(key)
        if one is None or two is None or one != two or not one.is_packed_as(two):
            raise DifferenceError(f"{what}, key {key[1]!r} of database {key[0]}", one, two)


def check(ours: Wire, theirs: Wire, play: Play, resp: int, coverage: Coverage) -> None:
    """Raises DifferenceError where the servers differ in replies, contents, or in what a dump brings back."""
    replies = replies_of(theirs, play, resp)
    compare_replies(play.steps, replies_of(ours, play, resp), replies, coverage)
    for c in (ours, theirs):
        c.pipeline([("RESET",)])
    mine, others = contents(ours), contents(theirs)
    compare_contents("after all", mine, others)
    my_dumps, other_dumps = dumps(ours, mine), dumps(theirs, others)
    here, there = restored(ours, other_dumps), restored(theirs, my_dumps)
    compare_contents("restored", here, there)
