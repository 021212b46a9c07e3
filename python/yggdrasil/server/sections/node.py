"""The processes of a node, and what they may do."""

import os
from typing import Annotated, Literal

from pydantic import Field

from yggdrasil._core import DATABASES_MAX, SHARDS_MAX
from yggdrasil.server.option import GIB, KIB, Choice, Count, Option, Section, Size, Whole


def cores() -> int:
    """How many cores this process may use."""
    return min(len(os.sched_getaffinity(0)), SHARDS_MAX)


class Node(Section):
    """The processes of a node, and what they may do."""

    shards: Annotated[
        Whole,
        Field(ge=1, le=SHARDS_MAX),
        Option(help="Worker processes, each of which owns one shard.", default_text="the number of cores"),
    ] = Field(default_factory=cores)
    databases: Annotated[
        Whole, Field(ge=1, le=DATABASES_MAX), Option(help="Logical databases (SELECT).", redis=True)
    ] = 16
    dir: Annotated[
        str,
        Option(
            help="Directory of the node, which is made where only the last part of the path is missing. One node at a "
            "time runs on a directory.",
            redis=True,
            allowed="a directory",
        ),
    ] = "."
    ring_size: Annotated[
        Size,
        Field(ge=64 * KIB, le=GIB),
        Option(
            help="Shared memory of the ring from one worker to another; there is one for each ordered pair.",
            unit="bytes",
            allowed="a power of two from 64kb to 1gb",
        ),
    ] = 128 * KIB
    command_modules: Annotated[
        str,
        Option(
            help="Python modules whose commands the node has too, beside those of installed packages: names that can "
            "be imported, or files that end in .py.",
            allowed="names of modules, or paths that end in .py, separated by spaces",
        ),
    ] = ""
    enable_debug_command: Annotated[
        Literal["no", "yes", "local"],
        Choice,
        Option(help="Who may use DEBUG; local: clients on this machine.", redis=True, engine=True),
    ] = "no"
    shutdown_timeout: Annotated[
        Count,
        Option(
            help="How long a stopping node waits for requests under way before it closes connections. Those "
            "of clients that wait for keys to change, as BLPOP does, are closed at once.",
            unit="seconds",
            redis=True,
            runtime=True,
        ),
    ] = 10
