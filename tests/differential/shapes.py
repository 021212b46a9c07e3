"""Requests out of the table: its notation as Hypothesis strategies."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from tests.differential.alphabets import ALL_KEYS, ALPHABETS, JUNK, KEY_NAMES, OF_TYPES
from tests.differential.table import GROUPS

Request = tuple[bytes, ...]
Choose = Callable[[int], int]

_TOKENS = re.compile(r"#\{|[\[\](){}|;]|[^\s\[\](){}|;]+")
_REPEATED_MOST = 4
_CLOSING = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_WORD = re.compile(r"[A-Z][A-Z_]*\Z")


@dataclass
class Node:
    """A part of a shape: a word, or an opening bracket with what stands in it, by alternatives."""

    kind: str
    text: str = ""
    choices: "list[list[Node]]" = field(default_factory=list)

    def write(self, choose: Choose, to: list[bytes]) -> None:
        """Appends the arguments that it stands for."""
        if self.kind == "word":
            to.append(self.text.encode())
        elif self.kind == "name":
            to.append(_one_of(self.text, choose))
        elif self.kind == "@":
            to.append(b"@")
        elif self.kind == "[":
            if choose(3) == 1:
                _write(self.choices[0], choose, to)
        elif self.kind == "(":
            _write(self.choices[choose(len(self.choices))], choose, to)
        else:
            count = 1 + choose(_REPEATED_MOST)
            if self.kind == "#{":
                to.append(b"%d" % count)
            for _ in range(count):
                _write(self.choices[0], choose, to)


def _write(nodes: list[Node], choose: Choose, to: list[bytes]) -> None:
    for node in nodes:
        node.write(choose, to)


def _one_of(name: str, choose: Choose) -> bytes:
    """One of an alphabet; where a key of one type is meant, now and then a key of any."""
    own = OF_TYPES.get(name)
    if own is not None and choose(12) != 11:
        return own[choose(len(own))]
    letters = ALL_KEYS if own is not None else ALPHABETS[name]
    return letters[choose(len(letters))]


def _parsed(tokens: list[str], closing: str) -> list[list[Node]]:
    choices: list[list[Node]] = [[]]
    while tokens and (token := tokens.pop(0)) != closing:
        if token == "|":
            choices.append([])
        elif token in _CLOSING:
            choices[-1].append(Node(token, "", _parsed(tokens, _CLOSING[token])))
        elif token == "@":
            choices[-1].append(Node("@"))
        elif token in ALPHABETS or token in OF_TYPES:
            choices[-1].append(Node("name", token))
        else:
            assert _WORD.match(token) or not token.isalpha(), f"{token} is no alphabet"
            choices[-1].append(Node("word", token))
    return choices


@dataclass(frozen=True)
class Shape:
    """A row of the table."""

    row: str
    requests: tuple[tuple[Node, ...], ...] = field(hash=False, compare=False)

    @property
    def command(self) -> str:
        """The name of its first command."""
        return self.row.split()[0]


@cache
def shapes(group: str) -> tuple[Shape, ...]:
    """The rows of a group."""
    found = []
    for row in GROUPS[group].strip().splitlines():
        parts = [_parsed(_TOKENS.findall(part), "")[0] for part in row.split(" ; ")]
        found.append(Shape(row, tuple(tuple(part) for part in parts)))
    return tuple(found)


@dataclass(frozen=True)
class Step:
    """A request, and the row that it is made of."""

    row: str
    request: Request

    def __repr__(self) -> str:
        return " ".join(_shown(word) for word in self.request)


def _shown(word: bytes) -> str:
    short = word if len(word) <= 40 else word[:20] + b"..%d.." % len(word)
    return repr(short)[1:] if re.search(rb"[^!-&(-~]", short) or not short else short.decode()


def _disturbed(request: list[bytes], choose: Choose) -> list[bytes]:
    """The request with one argument too many, one missing, or one that does not belong there."""
    at = choose(len(request)) if len(request) > 1 else 0
    way = choose(4)
    if way == 0 and at:
        return request[:at] + request[at + 1 :]
    junk = JUNK[choose(len(JUNK))]
    if way == 1 or not at:
        return [*request[: at + 1], junk, *request[at + 1 :]]
    if way == 2:
        return [*request[:at], request[at].lower(), *request[at + 1 :]]
    return [*request[:at], junk, *request[at + 1 :]]


# Numbers of keys that are none, and other scores than 0, lead to what is listed as different.
_WHOLE = ("COMMAND ", "ZADD lexset ")


def _steps(shape: Shape, choose: Choose) -> list[Step]:
    steps: list[Step] = []
    for nodes in shape.requests:
        request: list[bytes] = []
        _write(list(nodes), choose, request)
        if request[-1] == b"@":
            request[-1] = steps[-1].request[1]
        elif len(shape.requests) == 1 and not shape.row.startswith(_WHOLE) and choose(10) == 9:
            request = _disturbed(request, choose)
        steps.append(Step(shape.row, tuple(request)))
    return steps


_BODIES = [
    b"return redis.pcall(unpack(ARGV))",
    b"return redis.call(unpack(ARGV))",
    b"redis.setresp(3) return redis.pcall(unpack(ARGV))",
    b"return type(redis.call(unpack(ARGV)))",
]
# It has written when it comes upon keys that it has not declared.
_WRITES_FIRST = (
    b"redis.call('RPUSH', KEYS[1], 'x') local reply = redis.pcall(unpack(ARGV)) redis.call('DEL', KEYS[1]) return reply"
)
NEVER_IN_SCRIPTS = frozenset(b"MULTI EXEC DISCARD WATCH UNWATCH SELECT SWAPDB EVAL EVALSHA EVAL_RO EVALSHA_RO".split())


def _in_script(step: Step, choose: Choose) -> Step:
    """The request by way of a script, which declares the keys or does not."""
    if step.request[0].upper() in NEVER_IN_SCRIPTS:
        return step
    keys = [word for word in step.request[1:] if word in KEY_NAMES]
    keys = keys[: choose(len(keys) + 1)] if choose(2) else keys
    body = choose(len(_BODIES) + 2)
    if body >= len(_BODIES):
        return Step(step.row, (b"EVAL", _WRITES_FIRST, b"%d" % (len(keys) + 1), b"ghost", *keys, *step.request))
    return Step(step.row, (b"EVAL", _BODIES[body], b"%d" % len(keys), *keys, *step.request))


@dataclass(frozen=True)
class Play:
    """What both servers are asked, and whether collections are trees from a few elements on."""

    is_small: bool
    steps: tuple[Step, ...]


_TYPES = [group for group in GROUPS if group not in ("generic", "session", "databases")]
_PARTS_MOST = 60


def _groups(choose: Choose) -> list[str]:
    """A few groups, so that requests meet."""
    groups = [_TYPES[choose(len(_TYPES))] for _ in range(1 + choose(3))]
    return ["lex"] if groups[0] == "lex" else [group for group in groups if group != "lex"]


def _some(groups: list[str], choose: Choose) -> list[Step]:
    kind = choose(100)
    if kind >= 98 and groups != ["lex"]:
        group = "databases"
    elif 80 <= kind < 98:
        group = "generic"
    elif 72 <= kind < 80:
        group = "session"
    else:
        group = groups[choose(len(groups))]
    among = shapes(group)
    return _steps(among[choose(len(among))], choose)


def _part(groups: list[str], choose: Choose) -> list[Step]:
    """A few requests, some of them in one transaction, or by way of a script."""
    kind = choose(20)
    if kind == 19:
        inside = [step for _ in range(choose(5)) for step in _some(groups, choose)]
        inside = [_in_script(step, choose) if choose(5) == 4 else step for step in inside]
        return [Step("MULTI", (b"MULTI",)), *inside, Step("EXEC", (b"EXEC",))]
    if kind >= 17:
        return [_in_script(step, choose) for step in _some(groups, choose)]
    return [step for _ in range(1 + kind % 4) for step in _some(groups, choose)]


def play_by(choose: Choose) -> Play:
    """A play of these choices."""
    is_small, groups = choose(2) == 1, _groups(choose)
    parts = [_part(groups, choose) for _ in range(5 + choose(_PARTS_MOST))]
    return Play(is_small, tuple(step for part in parts for step in part))


@cache
def _numbers(below: int) -> SearchStrategy[int]:
    return st.integers(0, below - 1)


def _drawn(draw: DrawFn) -> Choose:
    return lambda below: draw(_numbers(below)) if below > 1 else 0


@st.composite
def _parts(draw: DrawFn, groups: list[str]) -> list[Step]:
    return _part(groups, _drawn(draw))


@st.composite
def plays(draw: DrawFn) -> Play:
    """Plays that Hypothesis makes small where they fail."""
    groups = _groups(_drawn(draw))
    parts = draw(st.lists(_parts(groups), min_size=3, max_size=_PARTS_MOST))
    return Play(draw(st.booleans()), tuple(step for part in parts for step in part))
