"""What scripts and functions may take (EVAL, FCALL)."""

from typing import Annotated

from pydantic import Field

from yggdrasil.server.option import INTEGER_MAX, MIB, Option, Section, Size, Whole


class Scripts(Section):
    """What scripts and functions may take (EVAL, FCALL)."""

    busy_reply_threshold: Annotated[
        Whole,
        Field(ge=0, le=INTEGER_MAX),
        Option(
            help="How long a script may hold keys before requests for keys of the same shards are answered BUSY; 0 "
            "lets them wait.",
            unit="milliseconds",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 5000
    script_memory_max: Annotated[
        Size,
        Option(
            help="Memory of all scripts of a worker together, beside what they store; a script that needs more fails. "
            "0 for no limit.",
            unit="bytes",
            runtime=True,
            engine=True,
        ),
    ] = 256 * MIB
