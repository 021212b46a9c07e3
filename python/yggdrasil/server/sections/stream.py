"""Long values that come by parts (PUT_STREAM)."""

from typing import Annotated, ClassVar

from yggdrasil.server.option import Count, Option, Section, Size


class Stream(Section):
    """Long values that come by parts (PUT_STREAM)."""

    prefix: ClassVar[str] = "stream"

    upload_timeout: Annotated[
        Count,
        Option(
            help="An upload (PUT_STREAM) of which nothing has come for this long is forgotten; 0 for never.",
            unit="seconds",
            runtime=True,
            engine=True,
        ),
    ] = 60
    uploads_max: Annotated[
        Count,
        Option(help="Uploads (PUT_STREAM) that may be under way in a shard at a time.", runtime=True, engine=True),
    ] = 256
    upload_bytes_max: Annotated[
        Size,
        Option(
            help="What all uploads (PUT_STREAM) under way in a shard may hold; 0 for no limit but the memory.",
            unit="bytes",
            runtime=True,
            engine=True,
        ),
    ] = 0
