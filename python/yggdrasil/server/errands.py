"""What the steward is doing for others, as the supervisor knows it."""

import asyncio
import itertools

from yggdrasil.server.child_process import Child
from yggdrasil.server.messages import Errand, ErrandDone


class Errands:
    """Those that are under way."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[ErrandDone]] = {}

    async def run(self, steward: Child, values: dict[str, str]) -> ErrandDone:
        """Sends one and waits until it is done."""
        errand = Errand(id=next(self._ids), values=values)
        waiting: asyncio.Future[ErrandDone] = asyncio.get_running_loop().create_future()
        self._waiting[errand.id] = waiting
        steward.send(errand)
        try:
            return await waiting
        finally:
            del self._waiting[errand.id]

    def done(self, message: ErrandDone) -> None:
        """Called with what the steward answers."""
        waiting = self._waiting.get(message.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    def lost(self) -> None:
        """Called when the steward has died."""
        for number in list(self._waiting):
            self.done(ErrandDone(id=number, error="ERR the steward died meanwhile; try again"))
