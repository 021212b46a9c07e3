"""Replays transcripts over sockets, and records the replies of the peer Redis."""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.transcripts.notation import (
    FIRST,
    INDENT,
    Apart,
    Nothing,
    Section,
    Step,
    fits,
    format_reply,
    format_words,
    in_protocol,
    joined,
    parse,
)
from tests.wire import OK, Wire, encode

FOLDER = Path(__file__).parent
Connect = Callable[[], Wire]


def transcripts() -> list[Path]:
    """All transcripts."""
    return sorted(FOLDER.glob("*/*.txt"))


def sections(path: Path) -> list[Section]:
    """The sections of a transcript."""
    return parse(path.read_text(), name(path))


def name(path: Path) -> str:
    """The name of a transcript: folder and file."""
    return str(path.relative_to(FOLDER).with_suffix(""))


class _Connections:
    """The connections of a section, by name; at the end the server forgets what they have begun."""

    def __init__(self, resp: int, connect: Connect) -> None:
        self._resp = resp
        self._connect = connect
        self._open: dict[str, Wire] = {}

    def __enter__(self) -> Self:
        with self._connect() as admin:
            assert admin("FLUSHALL") == OK
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._open.values():
            if kind is None:
                connection.send("RESET")
                while connection.read() != "RESET":
                    pass
            connection.close()

    def after(self, step: Step) -> Wire:
        """The connection of a step, which has sent its request."""
        if step.connection not in self._open:
            self._open[step.connection] = self._connect()
            if self._resp != 2:
                self._open[step.connection].hello(self._resp)
        connection = self._open[step.connection]
        if step.words:
            connection.send_raw(encode(*step.words))
        if [word.upper() for word in step.words] == [b"RESET"]:
            connection.resp = 2
        if len(step.words) > 1 and step.words[0].upper() == b"HELLO":
            connection.resp = int(step.words[1])
        return connection


def differences(section: Section, resp: int, connect: Connect) -> list[str]:
    """Replies of a server that are not those of the transcript."""
    found = []
    with _Connections(resp, connect) as connections:
        for step in section.steps:
            connection = connections.after(step)
            for reply in step.replies:
                if isinstance(reply, Nothing):
                    continue
                got, expected = connection.read(), in_protocol(reply, connection.resp)
                if not fits(expected, got):
                    found.append(f"{section.name}, line {step.line}, RESP{resp}: got {got!r}, expected {expected!r}")
    return found


def record(section: Section, connect: Connect) -> None:
    """Puts the replies of a server in where those of the transcript do not fit, and where a request has none."""
    read = {resp: _read(section, resp, connect) for resp in (2, 3)}
    for step, resp2, resp3 in zip(section.steps, read[2], read[3], strict=True):
        kept = step.replies or [None] * len(resp2)
        step.replies = [_recorded(*each) for each in zip(kept, resp2, resp3, strict=True)]


def _recorded(kept: Any, resp2: Any, resp3: Any) -> Any:
    stays = isinstance(kept, Nothing) or (fits(in_protocol(kept, 2), resp2) and fits(in_protocol(kept, 3), resp3))
    return kept if stays else joined(resp2, resp3)


def _read(section: Section, resp: int, connect: Connect) -> list[list[Any]]:
    read = []
    with _Connections(resp, connect) as connections:
        for step in section.steps:
            connection = connections.after(step)
            replies = step.replies or [None]
            read.append([reply if isinstance(reply, Nothing) else connection.read() for reply in replies])
    return read


def written(text: str, known: list[Section]) -> str:
    """A transcript with the replies of these sections; everything else stays as it is in `text`."""
    steps = {step.line: step for section in known for step in section.steps}
    out: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith(INDENT):
            out.append(line)
        if number in steps:
            out += reply_lines(steps[number])
    return "\n".join(out) + "\n"


def request_line(step: Step) -> str:
    """The line of a request."""
    named = step.connection != FIRST or not step.words
    return ((f"{step.connection}> " if named else "") + format_words(step.words)).rstrip()


def reply_lines(step: Step) -> list[str]:
    """The lines of the replies to a request."""
    lines = []
    for reply in step.replies:
        if isinstance(reply, Apart):
            lines += [f"resp2: {format_reply(reply.resp2)}", f"resp3: {format_reply(reply.resp3)}"]
        else:
            lines.append(format_reply(reply))
    return [INDENT + line for line in lines]
