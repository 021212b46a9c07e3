"""The log of commands that took long (SLOWLOG)."""

from typing import Annotated, ClassVar

from pydantic import Field

from yggdrasil.server.option import INTEGER_MAX, Option, Section, Whole


class SlowLog(Section):
    """The log of commands that took long (SLOWLOG)."""

    prefix: ClassVar[str] = "slowlog"

    log_slower_than: Annotated[
        Whole,
        Field(ge=-1, le=INTEGER_MAX),
        Option(
            help="Commands that took longer go to the slow log; 0 for every command, -1 for none.",
            unit="microseconds",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 10000
    max_len: Annotated[
        Whole,
        Field(ge=0, le=INTEGER_MAX),
        Option(help="Entries the slow log of a worker keeps.", redis=True, runtime=True, engine=True),
    ] = 128
