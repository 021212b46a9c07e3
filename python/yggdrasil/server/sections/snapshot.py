"""Snapshots: where they lie, when they are taken, and how many are kept."""

from typing import Annotated, ClassVar

from pydantic import Field

from yggdrasil.server.option import MIB, Count, Option, Section, Size, Whole


class Snapshot(Section):
    """Snapshots: where they lie, when they are taken, and how many are kept."""

    prefix: ClassVar[str] = "snapshot"

    url: Annotated[
        str,
        Option(
            help="Where snapshots lie. Buckets need the package's extra `objects`, and take credentials from the "
            "environment.",
            allowed="a directory, file://PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
            default_text="snapshots in dir",
        ),
    ] = ""
    interval: Annotated[
        Count,
        Option(
            help="A snapshot is taken so long after the last one if anything has changed; 0 for none but those that "
            "are asked for.",
            unit="seconds",
            runtime=True,
        ),
    ] = 0
    keep: Annotated[
        Whole,
        Field(ge=1, le=1_000_000),
        Option(help="Snapshots that are kept, the newest ones.", runtime=True),
    ] = 7
    rate: Annotated[
        Size,
        Option(
            help="Bytes that a snapshot may write in a second; 0 for no limit.",
            unit="bytes",
            runtime=True,
        ),
    ] = 256 * MIB
    level: Annotated[
        Whole,
        Field(ge=1, le=19),
        Option(help="Level of zstd: higher ones take more time and less room.", runtime=True),
    ] = 1
    threads: Annotated[
        Whole,
        Field(ge=1, le=64),
        Option(help="Threads that compress and write a snapshot.", runtime=True),
    ] = 1
    layers_max: Annotated[
        Whole,
        Field(ge=1, le=10_000),
        Option(
            help="A snapshot names the chunks of the one before and adds what has changed since, up to so many layers; "
            "1 makes all of them full ones.",
            runtime=True,
        ),
    ] = 32
    log_growth: Annotated[
        Whole,
        Field(ge=0, le=1000),
        Option(
            help="A snapshot is taken when the logs are longer than so many times the last one, which shortens them; "
            "0 for never.",
            runtime=True,
        ),
    ] = 4
    check_rate: Annotated[
        Size,
        Option(
            help="Bytes in a second that are read again to find damage before it matters; 0 for never.",
            unit="bytes",
            runtime=True,
        ),
    ] = MIB
