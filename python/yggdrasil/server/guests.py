"""Processes that read the shared memory: every worker knows the page of each before it takes its first lease.

Supervisor and worker have a channel for this, where a descriptor travels with the message that it belongs to.
"""

import asyncio
import itertools
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from yggdrasil._core import GuestPage, NodeShape
from yggdrasil.server.messages import GuestInfo

_MESSAGE_BYTES_MAX = 4096
_ANSWER_TIMEOUT_S = 5.0


class GuestsError(Exception):
    """A guest cannot be taken; the message says why."""


class _Word(BaseModel):
    """What supervisor and worker say: a guest joins or leaves, and the worker knows that it has joined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["joins", "leaves", "joined"]
    id: int
    leases: int = 0


class Guest:
    """One process that reads the shared memory."""

    def __init__(self, info: GuestInfo, page: GuestPage) -> None:
        self.info = info
        self.page = page


class _Channel:
    """The supervisor's end to one worker."""

    def __init__(self, on_word: Callable[[_Word], None]) -> None:
        self._on_word = on_word
        self._socket, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._unsent: deque[tuple[bytes, int | None]] = deque()
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def send(self, word: _Word, descriptor: int | None = None) -> None:
        """Sends now or as soon as there is room; never waits. The descriptor may be closed afterwards."""
        self._unsent.append((word.model_dump_json().encode(), None if descriptor is None else os.dup(descriptor)))
        self._writable()

    def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        while self._unsent:
            payload, descriptor = self._unsent[0]
            try:
                socket.send_fds(self._socket, [payload], [] if descriptor is None else [descriptor])
            except BlockingIOError:
                loop.add_writer(self._socket, self._writable)
                return
            except OSError:
                # The worker has gone, which is noticed in the usual way.
                pass
            self._forget_first()
        loop.remove_writer(self._socket)

    def _forget_first(self) -> None:
        _, descriptor = self._unsent.popleft()
        if descriptor is not None:
            os.close(descriptor)

    def _readable(self) -> None:
        try:
            payload = self._socket.recv(_MESSAGE_BYTES_MAX)
        except BlockingIOError:
            return
        except OSError:
            payload = b""
        if payload:
            self._on_word(_Word.model_validate_json(payload))
        else:
            asyncio.get_running_loop().remove_reader(self._socket)

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._socket)
        loop.remove_writer(self._socket)
        self._socket.close()
        while self._unsent:
            self._forget_first()


class Guests:
    """All guests of a node, for its supervisor."""

    def __init__(self, shape: NodeShape) -> None:
        self._shape = shape
        self._numbers = itertools.count(1)
        self._guests: dict[int, Guest] = {}
        self._channels: dict[int, _Channel] = {}
        self._awaited: dict[tuple[int, int], asyncio.Future[None]] = {}

    def __len__(self) -> int:
        return len(self._guests)

    def connect(self, shard: int) -> tuple[tuple[GuestInfo, ...], list[int], socket.socket]:
        """For the worker that takes a shard over: the guests it has to know, their pages, its end of the channel.

        The caller closes that end once it has been sent.
        """
        self.disconnect(shard)
        channel = _Channel(lambda word: self._joined(shard, word.id))
        self._channels[shard] = channel
        guests = list(self._guests.values())
        return tuple(guest.info for guest in guests), [guest.page.fileno() for guest in guests], channel.theirs

    def disconnect(self, shard: int) -> None:
        """The worker of a shard is dead."""
        channel = self._channels.pop(shard, None)
        if channel is not None:
            channel.close()
        for (waiting, number), future in list(self._awaited.items()):
            if waiting == shard:
                # Its successor is told from the start.
                self._joined(shard, number)
                assert future.done()

    async def admit(self, leases: int) -> Guest:
        """A new guest, which all workers know when this returns."""
        guest = Guest(GuestInfo(id=next(self._numbers), leases=leases), GuestPage(self._shape))
        number = guest.info.id
        self._guests[number] = guest
        waiting: list[asyncio.Future[None]] = []
        for shard, channel in self._channels.items():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._awaited[shard, number] = future
            waiting.append(future)
            channel.send(_Word(kind="joins", id=number, leases=leases), guest.page.fileno())
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                await asyncio.gather(*waiting)
        except BaseException as error:
            self.dismiss(guest)
            if isinstance(error, TimeoutError):
                raise GuestsError(f"a worker did not answer for {_ANSWER_TIMEOUT_S:.0f} s") from None
            raise
        return guest

    def dismiss(self, guest: Guest) -> None:
        """What a guest looked at can be used again; it is told."""
        number = guest.info.id
        if self._guests.pop(number, None) is None:
            return
        guest.page.close()
        for channel in self._channels.values():
            channel.send(_Word(kind="leaves", id=number))
        for key in [key for key in self._awaited if key[1] == number]:
            self._awaited.pop(key).cancel()

    def close(self) -> None:
        """Ends all channels."""
        for shard in list(self._channels):
            self.disconnect(shard)

    def _joined(self, shard: int, number: int) -> None:
        future = self._awaited.pop((shard, number), None)
        if future is not None and not future.done():
            future.set_result(None)


class GuestListener:
    """A worker's end of the channel."""

    def __init__(
        self, channel: socket.socket, add: Callable[[int, int, int], None], remove: Callable[[int], None]
    ) -> None:
        self._channel = channel
        self._add = add
        self._remove = remove
        channel.setblocking(False)
        asyncio.get_running_loop().add_reader(channel, self._readable)

    def _readable(self) -> None:
        try:
            payload, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE_BYTES_MAX, 1)
        except BlockingIOError:
            return
        if not payload:
            # The supervisor has gone, which the link notices.
            asyncio.get_running_loop().remove_reader(self._channel)
            return
        self._heard(_Word.model_validate_json(payload), descriptors)

    def _heard(self, word: _Word, descriptors: Sequence[int]) -> None:
        try:
            if word.kind == "joins":
                self._add(word.id, descriptors[0], word.leases)
                self._channel.send(_Word(kind="joined", id=word.id).model_dump_json().encode())
            elif word.kind == "leaves":
                self._remove(word.id)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
