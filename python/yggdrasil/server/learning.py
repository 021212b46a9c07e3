"""Scripts of SCRIPT LOAD, which the successor of a worker learns from the others."""

import asyncio
from contextlib import suppress

from yggdrasil._core import Worker, YggdrasilError

_TOPIC = "scripts.loaded"
_ENOUGH_S = 1.0
"""Clients are served then, whoever has not answered."""


def tell_others(worker: Worker) -> None:
    """Answers workers that want to know scripts."""
    worker.serve_call(_TOPIC, worker.tell_scripts)


async def learn_from(worker: Worker, others: list[int]) -> None:
    """Learns what other workers know, as far as they tell it soon."""
    learning = [asyncio.ensure_future(_learn(worker, shard)) for shard in others]
    if learning:
        await asyncio.wait(learning, timeout=_ENOUGH_S)


async def _learn(worker: Worker, shard: int) -> None:
    # One that dies, or is a successor itself, has nothing to tell.
    with suppress(YggdrasilError):
        asks = True
        while asks:
            asked, question = worker.ask_for_scripts()
            asks = worker.learn_scripts(asked, await worker.call(shard, _TOPIC, question))
