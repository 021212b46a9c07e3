"""The log on standard error."""

from typing import Annotated, Literal

from yggdrasil.server.option import Choice, Option, Section


class Log(Section):
    """The log on standard error."""

    loglevel: Annotated[
        Literal["debug", "verbose", "notice", "warning", "nothing"],
        Choice,
        Option(help="The least important messages that are logged.", redis=True, runtime=True),
    ] = "notice"
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Choice,
        Option(help="Form of the log on standard error; auto: console on a terminal, otherwise json."),
    ] = "auto"
