"""The notation of transcripts: requests as one types them, and replies that stand for both protocols."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.wire import (
    NULL_ARRAY,
    BigNumber,
    Boolean,
    Double,
    Error,
    MapReply,
    NullArray,
    Push,
    SetReply,
    Verbatim,
)

INDENT = "  "
FIRST = "a"
"""The connection of a request that names none."""
_ESCAPES = {"n": 10, "r": 13, "t": 9, '"': 34, "\\": 92}
_SHORT = {code: f"\\{letter}" for letter, code in _ESCAPES.items()}
_CONNECTION = re.compile(r"([a-z][a-z0-9]*)>(?: |$)")
_INTEGER = re.compile(r"(-?\d+)(?:\.\.(-?\d+))?")
_REPEATED = re.compile(rb"(.)\1{11,}", re.DOTALL)
_PLAIN_WORD = re.compile(rb"[!$-&(-~]+")


class NotationError(Exception):
    """A line that is no transcript, with its place and what was expected."""


@dataclass(frozen=True, slots=True)
class Range:
    """An integer between two bounds, which belong to it."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class AnyOrder:
    """An array or a set whose items may come in any order."""

    items: list[Any]


@dataclass(frozen=True, slots=True)
class Anything:
    """Any reply."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """No reply to this request, or none yet."""


@dataclass(frozen=True, slots=True)
class Apart:
    """A reply that each protocol gives in a form of its own."""

    resp2: Any
    resp3: Any


@dataclass(slots=True)
class Step:
    """A request, or none, on a connection, and the replies that the connection then reads."""

    connection: str
    words: list[bytes]
    replies: list[Any]
    line: int


@dataclass(slots=True)
class Section:
    """A transcript of its own: new connections, and no keys."""

    name: str
    line: int
    steps: list[Step] = field(default_factory=list)


# Reading.


class _Text:
    """A line that is read from left to right."""

    def __init__(self, text: str, at: int = 0) -> None:
        self.text = text
        self.at = at

    def skip(self) -> None:
        while self.at < len(self.text) and self.text[self.at] == " ":
            self.at += 1

    def takes(self, wanted: str) -> bool:
        if not self.text.startswith(wanted, self.at):
            return False
        self.at += len(wanted)
        return True

    def matches(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def quoted(self) -> bytes:
        """The rest of a quoted string, and how often it is repeated."""
        data = bytearray()
        while not self.takes('"'):
            if self.at >= len(self.text):
                raise NotationError("the quote is not closed")
            letter = self.text[self.at]
            self.at += 1
            if letter != "\\":
                data += letter.encode()
            elif self.takes("x"):
                data.append(int(self.text[self.at : self.at + 2], 16))
                self.at += 2
            else:
                data.append(_ESCAPES[self.text[self.at]])
                self.at += 1
        times = self.matches(re.compile(r"\*(\d+)"))
        return bytes(data) * (int(times[1]) if times else 1)

    def string(self) -> bytes:
        """Quoted strings, one behind the other, are one."""
        data = b""
        while self.takes('"'):
            data += self.quoted()
        return data

    def word(self) -> bytes:
        data = b""
        while self.at < len(self.text) and self.text[self.at] != " ":
            if self.takes('"'):
                data += self.quoted()
            else:
                data += self.text[self.at].encode()
                self.at += 1
        return data

    def unquoted(self, inside: bool) -> str:
        """Text up to the end of the line, or of the item inside an aggregate."""
        if self.text.startswith('"', self.at):
            return self.string().decode()
        end = len(self.text)
        if inside:
            end = min((at for mark in ",]}:" if (at := self.text.find(mark, self.at)) >= 0), default=end)
        found = self.text[self.at : end]
        self.at = end
        return found

    def items(self, closing: str) -> list[Any]:
        found: list[Any] = []
        self.skip()
        while not self.takes(closing):
            if found and not self.takes(","):
                raise NotationError(f"expected , or {closing} at column {self.at + 1}")
            found.append(self.reply(inside=True))
            self.skip()
        return found

    def map(self) -> MapReply:
        found: list[tuple[Any, Any]] = []
        self.skip()
        while not self.takes("}"):
            if found and not self.takes(","):
                raise NotationError(f"expected , or }} at column {self.at + 1}")
            key = self.reply(inside=True)
            self.skip()
            if not self.takes(":"):
                raise NotationError(f"expected : at column {self.at + 1}")
            found.append((key, self.reply(inside=True)))
            self.skip()
        return MapReply(found)

    def reply(self, *, inside: bool = False) -> Any:
        self.skip()
        if self.text.startswith('"', self.at):
            return self.string()
        if found := self.matches(_INTEGER):
            return Range(int(found[1]), int(found[2])) if found[2] else int(found[1])
        if self.takes("{"):
            return self.map()
        for word, value in _WORDS.items():
            if self.takes(word):
                return value
        for opening, kind in _AGGREGATES.items():
            if self.takes(opening):
                return kind(self.items("]"))
        for opening, scalar in _SCALARS.items():
            if self.takes(opening):
                return scalar(self.unquoted(inside))
        raise NotationError(f"no reply at column {self.at + 1}")


_WORDS: dict[str, Any] = {
    "null-array": NULL_ARRAY,
    "null": None,
    "true": Boolean(value=True),
    "false": Boolean(value=False),
    "anything": Anything(),
    "nothing": Nothing(),
}
_AGGREGATES: dict[str, Any] = {"any-order [": AnyOrder, "set [": SetReply, "push [": Push, "[": list}
_SCALARS: dict[str, Any] = {
    "+": str,
    "-": Error,
    "double ": Double,
    "big ": BigNumber,
    "text ": lambda text: Verbatim("txt", text.encode()),
}


def parse_reply(text: str) -> Any:
    """A reply as it is written in a transcript, without its indent."""
    if text.startswith(("resp2: ", "resp3: ")):
        raise NotationError("resp2: and resp3: stand in pairs, in this order")
    line = _Text(text)
    reply = line.reply()
    line.skip()
    if line.at < len(text):
        raise NotationError(f"nothing expected at column {line.at + 1}")
    return reply


def parse_words(text: str) -> list[bytes]:
    """A request as one types it."""
    line = _Text(text)
    words = []
    line.skip()
    while line.at < len(text):
        words.append(line.word())
        line.skip()
    return words


def parse(text: str, name: str) -> list[Section]:
    """The sections of a transcript."""
    sections: list[Section] = []
    resp2: Any = None
    for number, line in enumerate(text.splitlines(), 1):
        try:
            if line.startswith("## "):
                sections.append(Section(line[3:], number))
            elif line.startswith(INDENT):
                step, reply = sections[-1].steps[-1], line.removeprefix(INDENT)
                if reply.startswith("resp2: "):
                    resp2 = parse_reply(reply[7:])
                elif reply.startswith("resp3: "):
                    step.replies.append(Apart(resp2, parse_reply(reply[7:])))
                else:
                    step.replies.append(parse_reply(reply))
            elif line and not line.startswith("#"):
                found = _CONNECTION.match(line)
                words = parse_words(line[found.end() :] if found else line)
                sections[-1].steps.append(Step(found[1] if found else FIRST, words, [], number))
        except (NotationError, LookupError, ValueError) as error:
            raise NotationError(f"{name}:{number}: {error}: {line[:80]}") from error
    return sections


# Writing.


def _quoted(data: bytes) -> str:
    shown = "".join(
        _SHORT[byte] if byte in _SHORT else chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data
    )
    return f'"{shown}"'


def format_string(data: bytes) -> str:
    """A string in quotes, long runs of one byte shortened."""
    parts, at = [], 0
    for run in _REPEATED.finditer(data):
        if run.start() > at:
            parts.append(_quoted(data[at : run.start()]))
        parts.append(f"{_quoted(run[1])}*{len(run[0])}")
        at = run.end()
    if at < len(data) or not parts:
        parts.append(_quoted(data[at:]))
    return "".join(parts)


def format_words(words: list[bytes]) -> str:
    """A request as one types it."""
    plain = (word.decode() if _PLAIN_WORD.fullmatch(word) and len(word) < 40 else format_string(word) for word in words)
    return " ".join(plain)


def _text(text: str, *, inside: bool) -> str:
    needs_quotes = text[:1] == '"' or not text.isascii() or (inside and re.search(r"[,\]}:]", text))
    return format_string(text.encode()) if needs_quotes else text


def format_reply(reply: Any, *, inside: bool = False) -> str:
    """A reply as it is written in a transcript."""
    match reply:
        case bytes():
            return format_string(reply)
        case Range(low, high):
            return f"{low}..{high}"
        case MapReply(items):
            shown = (f"{format_reply(k, inside=True)}: {format_reply(v, inside=True)}" for k, v in items)
            return "{" + ", ".join(shown) + "}"
        case Verbatim(_, text):
            return f"text {format_string(text)}"
        case int():
            return str(reply)
    return _format_by_table(reply, inside=inside)


def _format_by_table(reply: Any, *, inside: bool) -> str:
    text = reply if isinstance(reply, str) else getattr(reply, "text", "")
    for word, value in _WORDS.items():
        if type(value) is type(reply) and fits(value, reply):
            return word
    for opening, kind in _AGGREGATES.items():
        if isinstance(reply, kind):
            items = reply if isinstance(reply, list) else reply.items
            return opening + ", ".join(format_reply(item, inside=True) for item in items) + "]"
    for opening, scalar in _SCALARS.items():
        if isinstance(scalar, type) and isinstance(reply, scalar):
            return opening + _text(text, inside=inside)
    raise NotationError(f"no notation for {reply!r}")


# Comparing.


def in_protocol(reply: Any, resp: int) -> Any:
    """A reply of a transcript in the form that a protocol gives it, as `Wire` reads it."""

    def inner(items: Iterable[Any]) -> list[Any]:
        return [in_protocol(item, resp) for item in items]

    match reply:
        case Apart(resp2, resp3):
            return in_protocol(resp2 if resp == 2 else resp3, resp)
        case list():
            return inner(reply)
        case AnyOrder(items):
            return AnyOrder(inner(items))
        case MapReply(items):
            flat = inner(part for pair in items for part in pair)
            return flat if resp == 2 else MapReply(list(zip(flat[::2], flat[1::2], strict=True)))
        case SetReply(items) | Push(items):
            return inner(items) if resp == 2 else type(reply)(inner(items))
        case NullArray() if resp == 3:
            return None
    return _scalar_of_resp2(reply) if resp == 2 else reply


def _scalar_of_resp2(reply: Any) -> Any:
    match reply:
        case Double(text) | BigNumber(text):
            return text.encode()
        case Boolean(value):
            return int(value)
        case Verbatim(_, raw):
            return raw
    return reply


def fits(expected: Any, got: Any) -> bool:
    """True when a reply, as `Wire` reads it, is what `in_protocol` says."""
    match expected:
        case Anything():
            return True
        case Range(low, high):
            return type(got) is int and low <= got <= high
        case NullArray():
            return isinstance(got, NullArray)
        case AnyOrder(items):
            return _fit_in_any_order(items, got)
        case list():
            return type(got) is list and _fit_in_order(expected, got)
        case SetReply(items) | Push(items):
            return type(got) is type(expected) and _fit_in_order(items, got.items)
        case MapReply(items):
            return isinstance(got, MapReply) and _fit_in_order(
                [part for pair in items for part in pair], [part for pair in got.items for part in pair]
            )
    return type(got) is type(expected) and bool(got == expected)


def _fit_in_order(expected: list[Any], got: list[Any]) -> bool:
    return len(got) == len(expected) and all(map(fits, expected, got))


def _fit_in_any_order(expected: list[Any], got: Any) -> bool:
    left = list(got.items if isinstance(got, SetReply) else got) if isinstance(got, list | SetReply) else None
    if left is None or len(left) != len(expected):
        return False
    for item in expected:
        found = next((index for index, other in enumerate(left) if fits(item, other)), None)
        if found is None:
            return False
        del left[found]
    return True


def joined(resp2: Any, resp3: Any) -> Any:
    """The reply that stands for what `Wire` read in both protocols."""
    try:
        whole = _joined(resp2, resp3)
    except NotationError:
        return Apart(resp2, resp3)
    same = fits(in_protocol(whole, 2), resp2) and fits(in_protocol(whole, 3), resp3)
    return whole if same else Apart(resp2, resp3)


def _joined(resp2: Any, resp3: Any) -> Any:
    match resp2, resp3:
        case NullArray(), None:
            return resp2
        case list(), list():
            return _joined_items(resp2, resp3)
        case list(), SetReply(items) | Push(items):
            return type(resp3)(_joined_items(resp2, items))
        case list(), MapReply(items):
            flat = _joined_items(resp2, [part for pair in items for part in pair])
            return MapReply(list(zip(flat[::2], flat[1::2], strict=True)))
        case list(), _:
            raise NotationError("an array and something else")
    return resp3


def _joined_items(resp2: list[Any], resp3: list[Any]) -> list[Any]:
    if len(resp2) != len(resp3):
        raise NotationError("arrays of two lengths")
    return [_joined(first, second) for first, second in zip(resp2, resp3, strict=True)]
