"""Answers that would take long: each worker gives them page by page, and serves its clients in between."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from yggdrasil._core import ReplyError
from yggdrasil.protocol.node import CommandContext, Question

Asked = TypeVar("Asked")
Page = TypeVar("Page")

PLACES = 256
"""Clients that one page looks at: well below a millisecond."""


async def pages(
    ctx: CommandContext, question: Question[Asked, tuple[int | None, Page]], asked: Callable[[int], Asked]
) -> list[Page]:
    """All pages of all workers. `asked` makes the question for the page that begins at a place."""
    shards = range(ctx.worker.shards)
    found = await asyncio.gather(*(_pages_of(ctx, shard, question, asked) for shard in shards))
    return [page for of_worker in found for page in of_worker]


async def _pages_of(
    ctx: CommandContext,
    shard: int,
    question: Question[Asked, tuple[int | None, Page]],
    asked: Callable[[int], Asked],
) -> list[Page]:
    found: list[Page] = []
    start: int | None = 0
    while start is not None:
        try:
            start, page = await ctx.ask(shard, question, asked(start))
        except ReplyError:
            # The worker was restarted: its clients have gone.
            break
        found.append(page)
        # A question to this worker is answered at once, without a turn of the loop.
        await asyncio.sleep(0)
    return found
