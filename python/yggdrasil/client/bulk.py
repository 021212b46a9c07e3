"""Bulk replies received straight into memory of the caller: where the next bytes go, without any I/O."""

from enum import Enum, auto

__all__ = ["BulkReply", "Outcome"]

_SCRATCH_BYTES = 64
"""Takes a header (at most 22 bytes); what of the value arrives with it is copied."""
_SKIP_BYTES = 256 * 1024
_DIGITS_MAX = 19


class Outcome(Enum):
    """How a reply ended."""

    VALUE = auto()
    """It is in the caller's memory."""
    TOO_LARGE = auto()
    """It was longer than the memory, which is unchanged; its bytes were skipped."""
    OTHER = auto()
    """It is no bulk string (nil, an error, a push message): redis-py's parser is to read it from `rest`."""


class _State(Enum):
    HEADER = auto()
    VALUE = auto()
    SKIP = auto()
    END = auto()


class BulkReply:
    """One reply. Whoever reads puts bytes into `space()` and tells how many by `received()`, until it says True.

    Headers are read into a small buffer of its own, values straight into `target`. What is received beyond the end of
    the reply is in `rest` and belongs to the next reply: give it as `early` there, or to redis-py's parser.
    """

    __slots__ = ("_filled", "_scratch", "_skip", "_state", "length", "outcome", "rest", "target")

    def __init__(self, target: memoryview, early: bytes = b"") -> None:
        self.length = 0
        """Bytes of the value, known when its header has been read."""
        self.outcome: Outcome | None = None
        self.rest = early
        self.target = target
        """Where the value goes."""
        self._filled = 0
        self._scratch = bytearray(_SCRATCH_BYTES)
        self._skip: bytearray | None = None
        self._state = _State.HEADER

    def begin(self) -> bool:
        """Takes what was received early; True where that is the whole reply."""
        return bool(self.rest) and self._take(b"")

    @property
    def to_skip(self) -> int:
        """Bytes still to come of a value that is too long for the memory; 0 where it is not."""
        return self.length - self._filled if self._state is _State.SKIP else 0

    @property
    def progress(self) -> int:
        """Grows with every byte received."""
        return self._filled + len(self.rest)

    def space(self) -> memoryview:
        """Where the next bytes of the stream are to be put; never empty."""
        match self._state:
            case _State.VALUE:
                return self.target[self._filled : self.length]
            case _State.SKIP:
                if self._skip is None:
                    self._skip = bytearray(min(_SKIP_BYTES, self.length))
                return memoryview(self._skip)[: self.length - self._filled]
            case _:
                return memoryview(self._scratch)

    def received(self, count: int) -> bool:
        """`count` bytes, at least one, have been put into `space()`. True when the reply is complete."""
        if self._state in (_State.VALUE, _State.SKIP):
            self._filled += count
            if self._filled == self.length:
                self._state = _State.END
            return False
        return self._take(bytes(memoryview(self._scratch)[:count]))

    def _take(self, data: bytes) -> bool:
        """Bytes outside of a value, and what of a value has come with them."""
        self.rest += data
        if self._state is _State.HEADER:
            end = self._header_end()
            if self.outcome is Outcome.OTHER:
                return True
            if end == 0:
                return False
            early = self.rest[end : end + self.length]
            self.rest = self.rest[end + len(early) :]
            if self.length <= len(self.target):
                self.target[: len(early)] = early
            self._filled = len(early)
            if self._filled < self.length:
                return False
            self._state = _State.END
        if len(self.rest) < 2:
            return False
        if not self.rest.startswith(b"\r\n"):
            raise ValueError(f"a bulk string ends with {self.rest[:2]!r} instead of a line end")
        self.rest = self.rest[2:]
        self.outcome = Outcome.VALUE if self.length <= len(self.target) else Outcome.TOO_LARGE
        return True

    def _header_end(self) -> int:
        """Reads the header: where it ends, or 0 where it is not complete."""
        if not self.rest.startswith(b"$"):
            self.outcome = Outcome.OTHER
            return 0
        end = self.rest.find(b"\r\n")
        digits = self.rest[1:end] if end >= 0 else self.rest[1:].rstrip(b"\r")
        if (digits or end >= 0) and not (digits.isdigit() and len(digits) <= _DIGITS_MAX):
            # `$-1`, a streamed string, or nonsense.
            self.outcome = Outcome.OTHER
            return 0
        if end < 0:
            return 0
        self.length = int(digits)
        self._state = _State.VALUE if self.length <= len(self.target) else _State.SKIP
        return end + 2
