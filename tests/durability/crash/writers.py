"""Clients that write, and remember what was acknowledged."""

import random
import threading
import time
from typing import Any

from tests.durability.crash.marks import Fields, Pinned
from tests.durability.crash.settings import Settings
from tests.durability.crash.streams import Streams
from tests.durability.crash.subjects import Collections, LostError, Step, Strings, Subject, difference
from tests.durability.crash.transfers import Transfers
from tests.node import HOST
from tests.wire import OK, ConnectionEndedError, Error, Wire

STRINGS = 6
COLLECTIONS = 2
NOT_EXECUTED = ("LOADING", "MISCONF", "EXECABORT")
EXPIRED_AFTER_S = 0.005

Pending = list[tuple[Subject, tuple[Any, ...]]]
"""Subjects that a request in hand changes together, and what they are if it was executed."""


class Writer:
    """A client with a database of its own, whose subjects it changes."""

    def __init__(self, number: int, draw: random.Random) -> None:
        self.number = number
        self.draw = draw
        self.port = 0
        self.stop = threading.Event()
        self.subjects: list[Subject] = []
        # sync: is a namespace of its own.
        for subject in range(STRINGS):
            prefix = "sync:" if subject % 2 else ""
            self.subjects.append(Strings([f"{prefix}w{number}:{subject}:{key}" for key in range(3)]))
        for subject in range(COLLECTIONS):
            prefix = "sync:" if subject % 2 else ""
            self.subjects.append(Collections(f"{prefix}w{number}:c{subject}"))
        self.subjects += [
            Streams([f"{prefix}w{number}:stream" for prefix in ("", "sync:")]),
            Pinned([f"w{number}:pinned:{key}" for key in range(3)]),
            Fields([f"w{number}:fields:{key}" for key in range(2)]),
            Settings(number),
        ]
        self.transfers = Transfers(number)
        self.pending: Pending = []
        self.acknowledged = 0
        self.failure: BaseException | None = None
        self.version = 0

    @property
    def database(self) -> int:
        """Number of its database: 0 is that of all."""
        return self.number + 1

    def run(self) -> None:
        """Writes until told to stop, through all deaths of the node's processes."""
        try:
            while not self.stop.is_set():
                try:
                    self._connected()
                except (OSError, ConnectionEndedError):
                    self.stop.wait(0.01)
        except BaseException as error:  # noqa: BLE001 - told by whoever waits for the thread
            self.failure = error

    def _connected(self) -> None:
        with self._connect() as c:
            self._settle_all(c)
            while not self.stop.is_set():
                match self.draw.randrange(40):
                    case 0:
                        self._clear(c)
                    case 1 | 2 | 3:
                        self.acknowledged += self.transfers.make(c, self.draw)
                    case _:
                        subject = self.draw.choice(self.subjects)
                        self.version += 1
                        step = subject.choose(self.draw, self.version)
                        self._write(c, step, [(subject, step.after)])

    def _connect(self) -> Wire:
        c = Wire(HOST, self.port)
        try:
            greeting: list[tuple[str | int, ...]] = [("SELECT", self.database)]
            if self.number == 0:
                greeting.append(("CLIENT", "ACK", "SYNC"))
            replies = c.pipeline(greeting)
            if any(reply != OK for reply in replies):
                raise ConnectionEndedError(repr(replies).encode())
        except BaseException:
            c.close()
            raise
        return c

    def check(self) -> None:
        """Compares all subjects with what the node has; LostError names what is wrong."""
        with self._connect() as c:
            self._settle_all(c)
            for subject in self.subjects:
                found = subject.read(c)
                if found != subject.state:
                    raise LostError(f"database {self.database}: {difference(found, subject.state, subject.keys)}")

    def _settle_all(self, c: Wire) -> None:
        self._settle(c)
        self.transfers.settle(c)

    def _settle(self, c: Wire) -> None:
        """Finds out what has become of the request in hand: it was executed as a whole, or not at all."""
        if not self.pending:
            return
        found = [subject.read(c) for subject, _ in self.pending]
        before = [subject.state for subject, _ in self.pending]
        after = [after for _, after in self.pending]
        if found not in (before, after):
            told = [
                f"{difference(here, old, subject.keys)} (or else: {difference(here, new, subject.keys)})"
                for here, old, new, (subject, _) in zip(found, before, after, self.pending, strict=True)
                if here not in (old, new) or len(self.pending) > 1
            ]
            raise LostError(f"database {self.database}, half or lost: {' | '.join(told)}")
        for (subject, _), state in zip(self.pending, found, strict=True):
            subject.state = state
        self.pending = []

    def _acknowledge(self) -> None:
        for subject, after in self.pending:
            subject.state = after
        self.pending = []
        self.acknowledged += 1

    def _write(self, c: Wire, step: Step, pending: Pending) -> None:
        self.pending = pending
        replies = c.pipeline(step.requests)
        # Those within a transaction, too: it is executed as a whole, or not at all.
        executed = replies[-1] if isinstance(replies[-1], list) else []
        error = next((reply for reply in [*replies, *executed] if isinstance(reply, Error)), None)
        if step.expires:
            # What is written to a key that lives for a moment still would end with it.
            time.sleep(EXPIRED_AFTER_S)
        if error is None:
            self._acknowledge()
        elif error.text.startswith(NOT_EXECUTED):
            # It is looked at later, whether that is true.
            self.pending = [(subject, subject.state) for subject, _ in pending]
            self.stop.wait(0.002)
            self._settle(c)
        else:
            self._settle(c)

    def _clear(self, c: Wire) -> None:
        step = Step([("FLUSHDB", self.draw.choice(["SYNC", "ASYNC"]))], ())
        self._write(c, step, [(subject, subject.empty) for subject in self.subjects if subject.is_in_database])
