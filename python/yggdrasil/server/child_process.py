"""A child as the supervisor sees it: its process, its link, and what it was told to be."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import Enum

from yggdrasil.server.link import Link
from yggdrasil.server.messages import (
    FROM_CHILD,
    Answer,
    Assignment,
    ChangeUsers,
    Drain,
    Errand,
    FromChild,
    OptionsSet,
    SetOptions,
    Stop,
    UsersChange,
    UsersChanged,
    send_assignment,
)

ANSWER_TIMEOUT_S = 5.0
# For glibc: returning tens of MB that a long reply took, at once, stops a worker for milliseconds. So large blocks
# are mapped one by one (at glibc's own first threshold, which it would raise), and small ones stay a while.
_ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": str(128 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(4 * 1024 * 1024),
    "MALLOC_TOP_PAD_": str(256 * 1024),
}


class Stage(Enum):
    """How far a child has come."""

    SPARE = 1
    ASSIGNED = 2
    WITHOUT_SHARD = 3
    """It answers clients, as far as that can be done without its shard."""
    READY = 4
    DRAINED = 5
    GONE = 6


class Child:
    """One process. `on_message` and `on_death` are called with it."""

    def __init__(
        self,
        name: str,
        on_message: Callable[["Child", FromChild], None],
        on_death: Callable[["Child"], None],
    ) -> None:
        self._on_death = on_death
        self._link: Link[FromChild] = Link(FROM_CHILD, lambda message: on_message(self, message), lambda: None)
        self.stage = Stage.SPARE
        self.name = name
        """As it appears in the log and in the list of processes."""
        self.failure = ""
        self._waiting: dict[int, asyncio.Future[OptionsSet | UsersChanged | None]] = {}
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = _start(theirs)
        self._pidfd = os.pidfd_open(self._process.pid)
        self.started_at = time.monotonic()
        asyncio.get_running_loop().add_reader(self._pidfd, self._died)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def age_s(self) -> float:
        """How long it has been what it is."""
        return time.monotonic() - self.started_at

    @property
    def alive(self) -> bool:
        """Whether its death has not been noticed."""
        return self.stage is not Stage.GONE

    @property
    def ended_how(self) -> str:
        """Exit status or signal, in words."""
        code = self._process.returncode
        return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"status {code}"

    @property
    def killed_from_outside(self) -> bool:
        """SIGKILL comes from an operator or from the kernel out of memory; no fault of ours ends in it."""
        return self._process.returncode == -signal.SIGKILL

    async def assign(self, assignment: Assignment, descriptors: Mapping[str, Sequence[int]]) -> None:
        """Tells a spare what it is."""
        assert self.stage is Stage.SPARE
        self.stage, self.name = Stage.ASSIGNED, assignment.name
        self.started_at = time.monotonic()
        try:
            send_assignment(self._connection, assignment, descriptors)
        except (BrokenPipeError, ConnectionResetError):
            # It has just died, which is noticed in the usual way.
            return
        await self._link.attach(self._connection)

    async def set_options(self, number: int, values: dict[str, str]) -> str | None:
        """Has options set; returns what is wrong with them. One that dies meanwhile has no objection."""
        try:
            answer = await self._ask(SetOptions(id=number, values=values))
        except TimeoutError:
            return f"ERR CONFIG SET failed - {self.name} did not answer for {ANSWER_TIMEOUT_S:.0f} s"
        return answer.error if answer is not None else None

    async def change_users(self, number: int, change: UsersChange) -> UsersChanged | None:
        """Has users changed; nothing of one that dies meanwhile, or that makes the change later than one can wait."""
        try:
            answer = await self._ask(ChangeUsers(id=number, change=change))
        except TimeoutError:
            return None
        return answer if isinstance(answer, UsersChanged) else None

    async def _ask(self, message: SetOptions | ChangeUsers) -> OptionsSet | UsersChanged | None:
        if self.stage is Stage.GONE:
            return None
        waiting: asyncio.Future[OptionsSet | UsersChanged | None] = asyncio.get_running_loop().create_future()
        self._waiting[message.id] = waiting
        self._link.send(message)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await waiting
        finally:
            self._waiting.pop(message.id, None)

    def answered(self, message: OptionsSet | UsersChanged) -> bool:
        """Called with the child's answer to `set_options` or `change_users`; true where somebody still waits for it."""
        waiting = self._waiting.get(message.id)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(message)
        return True

    def send(self, message: Drain | Stop | Answer | Errand) -> None:
        """Sends an order or the answer to a request."""
        self._link.send(message)

    def kill(self) -> None:
        """Ends it at once."""
        if self.alive:
            self._process.kill()

    def _died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._process.wait()
        self.stage = Stage.GONE
        self._link.close()
        self._connection.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_result(None)
        self._on_death(self)


def _start(theirs: socket.socket) -> subprocess.Popen[bytes]:
    """Starts a process; signals stay blocked in it until it can ignore them."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        return subprocess.Popen(
            # -P: modules that lie in the current directory are none of ours.
            [sys.executable, "-P", "-m", "yggdrasil.server.child", str(theirs.fileno()), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            pass_fds=[theirs.fileno()],
            env=_ALLOCATOR | os.environ,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
