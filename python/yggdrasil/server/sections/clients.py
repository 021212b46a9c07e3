"""Who may be a client, and what one may take of the node."""

from typing import Annotated

from pydantic import Field

from yggdrasil.server.option import GIB, INTEGER_MAX, MIB, Count, Option, OutputLimits, Section, Size, Whole


class Clients(Section):
    """Who may be a client, and what one may take of the node."""

    requirepass: Annotated[
        str,
        Option(
            help="Password that clients have to give (AUTH, HELLO); empty for none.",
            redis=True,
            runtime=True,
            secret=True,
        ),
    ] = ""
    maxclients: Annotated[
        Whole,
        Field(ge=1, le=2**32 - 1),
        Option(
            help="Connections at a time, over all workers; lowered at the start where the system allows fewer files.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 10000
    timeout: Annotated[
        Count,
        Option(
            help="A client that is idle for this long is disconnected; 0 for never.",
            unit="seconds",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = 0
    proto_max_bulk_len: Annotated[
        Size,
        Field(ge=MIB, le=INTEGER_MAX),
        Option(help="The largest bulk string in a request.", unit="bytes", redis=True, runtime=True, engine=True),
    ] = 512 * MIB
    client_query_buffer_limit: Annotated[
        Size,
        Field(ge=MIB, le=INTEGER_MAX),
        Option(
            help="What a client may have sent of requests that are not complete; more closes its connection.",
            unit="bytes",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = GIB
    client_output_buffer_limit: Annotated[
        OutputLimits,
        Option(
            help="Replies that may wait for a client, per class: more than HARD bytes, or more than SOFT bytes for "
            "SECONDS, closes its connection; 0 for no limit.",
            redis=True,
            runtime=True,
            engine=True,
        ),
    ] = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"
