"""Replies as values, and what two right servers may say differently.

- KEYS, SCAN, and what has the elements of sets and hashes, come in any order. With several shards, a page of SCAN may
  have a part of the keys and a cursor for the rest;
- what follows from the clock is within half a minute: times left, times of expiry, idle times, ids by `*`;
- OBJECT ENCODING depends in Redis on what the value has been through: the names of strings, which of the packed forms
  a small collection has, and whether it was large once;
- an error that quotes an argument ends in Redis where the argument has a zero byte;
- a score of negative zero, which Redis keeps in large sorted sets only, and the digits of scores in ZSCAN.
"""

import re
from collections.abc import Callable
from typing import Any

from tests.differential.shapes import Request

CLOCK_MS = 30_000
# Times end earlier here than in Redis.
_FAR = 200_000_000_000
_UNORDERED = frozenset(b"SMEMBERS SINTER SUNION SDIFF HKEYS HVALS KEYS SPOP SRANDMEMBER HRANDFIELD ZRANDMEMBER".split())
_PAIRS = frozenset(b"HGETALL HSCAN ZSCAN".split())
_CLOCK = frozenset(b"TTL PTTL EXPIRETIME PEXPIRETIME HTTL HPTTL HEXPIRETIME HPEXPIRETIME XPENDING XINFO".split())
_SCORED = (b"Z", b"BZ", b"GEO", b"EVAL")
_BY_CHANCE = frozenset(b"SPOP SRANDMEMBER HRANDFIELD ZRANDMEMBER RANDOMKEY".split())
ID_NOW = re.compile(rb"\A(1[78]\d{11})-\d+\Z")
# Encodings that go by what the value has been through.
_STRINGS, _PACKED = {b"int", b"embstr", b"raw"}, {b"intset", b"listpack", b"listpackex"}
_LARGE = {b"hashtable", b"skiplist", b"quicklist"}
_ALIKE = [(_STRINGS, _STRINGS), (_PACKED, _PACKED | _LARGE), (_LARGE, _LARGE)]

Value = Any
"""A reply: (kind, bytes), or (kind, list of replies)."""


class Reader:
    """Reads replies out of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def read(self) -> Value:
        """The next reply."""
        end = self._data.index(b"\r\n", self.at)
        kind, text = self._data[self.at : self.at + 1], self._data[self.at + 1 : end]
        self.at = end + 2
        if kind in b"*~>%" and text != b"-1":
            return kind, [self.read() for _ in range(int(text) * (2 if kind == b"%" else 1))]
        if kind in b"$=!" and text != b"-1":
            start, self.at = self.at, self.at + int(text) + 2
            return kind, self._data[start : start + int(text)]
        return kind, text


def value_of(raw: bytes) -> Value:
    """The reply as a value."""
    return Reader(raw).read()


def command_of(request: Request) -> tuple[bytes, Request]:
    """The command that counts: of a script that executes its arguments, these."""
    name = request[0].upper()
    if name == b"EVAL" and len(request) > 2 and b"unpack(ARGV)" in request[1]:
        inner = request[3 + int(request[2]) :]
        return (inner[0].upper(), inner) if inner else (name, request)
    return name, request


def same(request: Request, ours: bytes, theirs: bytes) -> bool:
    """Whether two replies to a request say the same."""
    if ours == theirs:
        return True
    name, inner = command_of(request)
    if ours[:1] == theirs[:1] == b"-":
        has_zero = any(b"\0" in argument for argument in request)
        return has_zero and ours.split()[:2] == theirs.split()[:2]
    return _says_the_same(name, inner, value_of(ours), value_of(theirs))


def _says_the_same(name: bytes, inner: Request, one: Value, two: Value) -> bool:
    if name in (b"SCAN", b"SSCAN", b"HSCAN", b"ZSCAN"):
        return _same_page(name, inner, one, two)
    if name == b"OBJECT":
        return any(_text(one) in ours and _text(two) in theirs for ours, theirs in _ALIKE)
    if name in _BY_CHANCE:
        return bool(_shape(one) == _shape(two))
    one, two = _normal(name, inner, one), _normal(name, inner, two)
    return bool(one == two) or (name in _CLOCK and _within_clock(one, two))


def _text(value: Value) -> bytes:
    text = value[1]
    return text if isinstance(text, bytes) else b""


def _shape(value: Value) -> Value:
    kind, inner = value
    return kind, [_shape(part) for part in inner] if isinstance(inner, list) else None


def _normal(name: bytes, request: Request, value: Value) -> Value:
    """The reply in one form for all that say the same."""
    value = _mapped(_moment_hidden, value)
    if name.startswith(_SCORED):
        value = _mapped(_without_negative_zero, value)
    kind, inner = value
    if isinstance(inner, list) and _is_unordered(name, request, kind):
        if kind == b"%" or name in _PAIRS:
            inner = [part for pair in sorted(zip(inner[::2], inner[1::2], strict=True)) for part in pair]
        else:
            inner = sorted(inner, key=repr)
    return kind, inner


def _is_unordered(name: bytes, request: Request, kind: bytes) -> bool:
    if name in (b"SORT", b"SORT_RO"):
        return any(word.upper() == b"BY" for word in request)
    if name.startswith(b"GEO"):
        return not any(word.upper() in (b"ASC", b"DESC", b"COUNT") for word in request)
    return name in _UNORDERED or name in _PAIRS or kind in b"~%"


def _mapped(change: Callable[[bytes, bytes], bytes], value: Value) -> Value:
    kind, inner = value
    if isinstance(inner, list):
        return kind, [_mapped(change, part) for part in inner]
    return kind, change(kind, inner)


def _moment_hidden(kind: bytes, text: bytes) -> bytes:
    return b"now" if kind == b"$" and ID_NOW.match(text) else text


def _without_negative_zero(kind: bytes, text: bytes) -> bytes:
    return b"0" if kind in b"$," and text == b"-0" else text


def _within_clock(one: Value, two: Value) -> bool:
    """Whether integers differ only by as much as the clock explains."""
    if isinstance(one[1], list) and isinstance(two[1], list):
        equal = len(one[1]) == len(two[1]) and one[0] == two[0]
        return equal and all(map(_within_clock, one[1], two[1]))
    if one == two:
        return True
    if one[0] != b":" or two[0] != b":":
        return False
    first, second = int(one[1]), int(two[1])
    is_far = first >= _FAR and second >= _FAR
    return first >= 0 and second >= 0 and (is_far or abs(first - second) <= CLOCK_MS)


def _same_page(name: bytes, request: Request, one: Value, two: Value) -> bool:
    if _shape(one)[0] != _shape(two)[0] or not isinstance(one[1], list) or not isinstance(two[1], list):
        return False
    if name != b"SCAN" and any(word.upper() == b"NOVALUES" for word in request):
        name = b"SSCAN"
    ours, theirs = _elements(name, one), _elements(name, two)
    if one[1][0] == two[1][0]:
        return sorted(ours) == sorted(theirs)
    return set(ours) <= set(theirs)


def _elements(name: bytes, page: Value) -> list[Any]:
    parts = [part[1] for part in page[1][1][1]]
    if name not in _PAIRS:
        return parts
    second = [float(part) for part in parts[1::2]] if name == b"ZSCAN" else parts[1::2]
    return list(zip(parts[::2], second, strict=True))
