"""A RESP client that hides nothing: the types of both protocols stay visible and raw bytes can be had."""

import select
import shlex
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

Argument = str | bytes | int | float
CHUNK_BYTES = 1 << 20


class ConnectionEndedError(Exception):
    """The server ended the connection; `rest` is what came before the end and was not read."""

    def __init__(self, rest: bytes) -> None:
        super().__init__(f"connection closed by the server, unread: {rest[:200]!r}")
        self.rest = rest


@dataclass(frozen=True, slots=True)
class Error:
    """`-...` (and `!...`): an error reply."""

    text: str


@dataclass(frozen=True, slots=True)
class Left:  # noqa: PLW1641 - a frozen dataclass has a hash
    """Equal to what is left of a time to live, however slow the machine was since it was set."""

    whole: int
    lost: int = 9

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and self.whole - self.lost <= other <= self.whole


@dataclass(frozen=True, slots=True)
class Double:
    """`,...`"""

    text: str


@dataclass(frozen=True, slots=True)
class Boolean:
    """`#t` or `#f`"""

    value: bool


@dataclass(frozen=True, slots=True)
class BigNumber:
    """`(...`"""

    text: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """`=...`"""

    format: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Push:
    """`>...`"""

    items: list[Any]


@dataclass(frozen=True, slots=True)
class SetReply:
    """`~...`"""

    items: list[Any]


@dataclass(frozen=True, slots=True)
class MapReply:
    """`%...`, as pairs in the order received."""

    items: list[tuple[Any, Any]]


class NullArray:
    """`*-1` of RESP2; every other null is None."""

    def __repr__(self) -> str:
        return "NULL_ARRAY"


NULL_ARRAY = NullArray()
OK = "OK"
QUEUED = "QUEUED"
SYNTAX = Error("ERR syntax error")
NOT_AN_INTEGER = Error("ERR value is not an integer or out of range")
NOT_A_FLOAT = Error("ERR value is not a valid float")
NO_SUCH_KEY = Error("ERR no such key")


def arity(command: str) -> Error:
    """The reply to a wrong number of arguments."""
    return Error(f"ERR wrong number of arguments for '{command}' command")


def as_bytes(argument: Argument) -> bytes:
    """An argument as it goes over the wire."""
    if isinstance(argument, bytes):
        return argument
    return str(argument).encode()


def encode(*arguments: Argument) -> bytes:
    """A request as an array of bulk strings."""
    parts = [b"*%d\r\n" % len(arguments)]
    for argument in arguments:
        raw = as_bytes(argument)
        parts.append(b"$%d\r\n" % len(raw))
        parts.append(raw)
        parts.append(b"\r\n")
    return b"".join(parts)


def encode_line(line: str) -> bytes:
    """A request written as in a shell: `SET k "two words"`."""
    return encode(*shlex.split(line))


def pairs(reply: Any) -> dict[Any, Any]:
    """A map of RESP3, or its flat form of RESP2, as a dict."""
    if isinstance(reply, MapReply):
        return dict(reply.items)
    assert isinstance(reply, list), reply
    assert len(reply) % 2 == 0, reply
    return dict(zip(reply[::2], reply[1::2], strict=True))


def text_of(reply: Any) -> str:
    """The text of a verbatim string (RESP3) or of its bulk form (RESP2)."""
    if isinstance(reply, Verbatim):
        return reply.text.decode()
    assert isinstance(reply, bytes), reply
    return reply.decode()


def eventually(holds: Callable[[], Any], seconds: float = 30.0, every: float = 0.002) -> Any:
    """Polls until `holds` is true and returns its value; an AssertionError at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = holds()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s, last value {value!r}")
        time.sleep(every)


def once_within(seconds: float, measure: Callable[[], float], attempts: int = 5) -> None:
    """Asserts that `measure` returns less than `seconds` at least once.

    A busy machine delays what is quick now and then; what is too slow by itself is so at every attempt.
    """
    measured: list[float] = []
    while not measured or measured[-1] >= seconds:
        assert len(measured) < attempts, f"never within {seconds} s: {measured}"
        measured.append(measure())


class Wire:
    """One connection. Calling it sends one request and reads one reply."""

    def __init__(self, host: str, port: int, *, timeout: float = 20.0, path: str | None = None) -> None:
        if path is None:
            self.socket = socket.create_connection((host, port), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        self.resp = 2
        self._buffer = bytearray()
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """This end, as CLIENT LIST names it."""
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    @property
    def server_address(self) -> str:
        """The other end."""
        host, port = self.socket.getpeername()
        return f"{host}:{port}"

    def close(self) -> None:
        """Ends the connection."""
        self.socket.close()

    def reset_connection(self) -> None:
        """Ends the connection with a RST: what the server still sends meets an error."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self.socket.close()

    # Requests.

    def send_raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def send(self, *arguments: Argument) -> None:
        """Sends a request and does not wait."""
        self.socket.sendall(encode(*arguments))

    def __call__(self, *arguments: Argument) -> Any:
        self.send(*arguments)
        return self.read()

    def do(self, line: str) -> Any:
        """Sends a request written as in a shell and reads its reply."""
        self.socket.sendall(encode_line(line))
        return self.read()

    def hello(self, version: int) -> Any:
        """Switches the protocol."""
        reply = self("HELLO", version)
        self.resp = version
        return reply

    def pipeline(self, requests: Iterable[Sequence[Argument]]) -> list[Any]:
        """Sends many requests at once and reads all replies, in order."""
        encoded = [encode(*request) for request in requests]
        return self.exchange(b"".join(encoded), len(encoded))

    def exchange(self, data: bytes, replies: int) -> list[Any]:
        """Sends bytes of any size while reading, so that neither side waits for the other."""
        view = memoryview(data)
        timeout = self.socket.gettimeout()
        self.socket.setblocking(False)
        deadline = time.monotonic() + (timeout or 60.0)
        try:
            while view:
                readable, writable, _ = select.select([self.socket], [self.socket], [], 1.0)
                if readable:
                    self._receive()
                if writable:
                    view = view[self.socket.send(view[:CHUNK_BYTES]) :]
                assert time.monotonic() < deadline, "the server takes no more"
        finally:
            self.socket.settimeout(timeout)
        return [self.read() for _ in range(replies)]

    # Replies.

    def _receive(self) -> None:
        if self._at > CHUNK_BYTES:
            del self._buffer[: self._at]
            self._at = 0
        try:
            data = self.socket.recv(CHUNK_BYTES)
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            raise ConnectionEndedError(bytes(self._buffer[self._at :]))
        self._buffer += data

    def _line(self) -> bytes:
        searched = self._at
        while True:
            end = self._buffer.find(b"\r\n", searched)
            if end >= 0:
                line = bytes(self._buffer[self._at : end])
                self._at = end + 2
                return line
            searched = max(self._at, len(self._buffer) - 1)
            kept = searched - self._at
            self._receive()
            searched = self._at + kept

    def _exactly(self, count: int) -> bytes:
        if count > CHUNK_BYTES:
            return self._large(count)
        while len(self._buffer) - self._at < count:
            self._receive()
        data = bytes(self._buffer[self._at : self._at + count])
        self._at += count
        return data

    def _large(self, count: int) -> bytes:
        data = bytearray(count)
        have = min(count, len(self._buffer) - self._at)
        data[:have] = self._buffer[self._at : self._at + have]
        self._at += have
        view = memoryview(data)
        while have < count:
            received = self.socket.recv_into(view[have:])
            if not received:
                raise ConnectionEndedError(bytes(view[:have]))
            have += received
        return bytes(data)

    def _blob(self, length: bytes) -> bytes:
        data = self._exactly(int(length))
        assert self._exactly(2) == b"\r\n"
        return data

    def read(self) -> Any:
        """Reads one reply (or push) of any type."""
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return Error(rest.decode("utf-8", "backslashreplace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._blob(rest)
        if kind == b"*":
            return NULL_ARRAY if rest == b"-1" else [self.read() for _ in range(int(rest))]
        return self._read_resp3(kind, rest)

    def _read_resp3(self, kind: bytes, rest: bytes) -> Any:
        if kind == b"_":
            return None
        if kind == b"%":
            return MapReply([(self.read(), self.read()) for _ in range(int(rest))])
        if kind == b">":
            return Push([self.read() for _ in range(int(rest))])
        if kind == b"~":
            return SetReply([self.read() for _ in range(int(rest))])
        if kind == b",":
            return Double(rest.decode())
        if kind == b"#":
            return Boolean(rest == b"t")
        if kind == b"(":
            return BigNumber(rest.decode())
        if kind == b"=":
            blob = self._blob(rest)
            return Verbatim(blob[:3].decode(), blob[4:])
        if kind == b"!":
            return Error(self._blob(rest).decode())
        raise AssertionError(f"not a reply: {kind + rest!r}")

    def read_bytes(self) -> bytes:
        """Reads one reply and returns its bytes as they came."""
        self._buffer = self._buffer[self._at :]
        self._at = 0
        start = 0
        parsed_to = self._scan(start)
        raw = bytes(self._buffer[:parsed_to])
        self._at = parsed_to
        return raw

    def _scan(self, start: int) -> int:
        """Where the reply that begins at `start` ends; the buffer is not compacted meanwhile."""
        while (end := self._buffer.find(b"\r\n", start)) < 0:
            self._receive()
        kind, rest = bytes(self._buffer[start : start + 1]), bytes(self._buffer[start + 1 : end])
        after = end + 2
        if kind in (b"$", b"=", b"!") and rest != b"-1":
            after += int(rest) + 2
            while len(self._buffer) < after:
                self._receive()
        elif kind in (b"*", b"~", b">", b"%"):
            for _ in range(int(rest) * (2 if kind == b"%" else 1)):
                after = self._scan(after)
        return after

    def read_all(self) -> bytes:
        """Reads raw bytes until the server closes the connection."""
        try:
            while True:
                self._receive()
        except ConnectionEndedError as closed:
            self._at = len(self._buffer)
            return closed.rest

    def is_closed(self) -> bool:
        """Waits for the server to close; any reply still on its way is an error."""
        rest = self.read_all()
        assert rest == b"", rest[:200]
        return True

    def silent(self, seconds: float = 0.05) -> bool:
        """Whether nothing arrives within `seconds`."""
        if self._at < len(self._buffer):
            return False
        return not select.select([self.socket], [], [], seconds)[0]


def info(connection: Wire, *sections: str) -> dict[str, str]:
    """What INFO tells, by field."""
    lines = text_of(connection("INFO", *sections)).splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def expect(connection: Wire, *steps: tuple[str, Any]) -> None:
    """Runs requests written as in a shell, one after another, and compares each reply."""
    for line, reply in steps:
        got = connection.do(line)
        assert got == reply, f"{line}: got {got!r}, expected {reply!r}"
