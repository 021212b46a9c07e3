"""Snapshots: where they lie, when they are taken, and how many are kept."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from yggdrasil.server.option import MIB, Choice, Count, Option, Section, Size, Switch, Whole


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
    at_shutdown: Annotated[
        Literal["auto", "yes", "no"],
        Choice,
        Option(
            help="A snapshot is taken when the node ends in good order, unless SHUTDOWN says otherwise. auto: where "
            "snapshot-interval is set and no log keeps the keys.",
            runtime=True,
        ),
    ] = "auto"
    archive: Annotated[
        Switch,
        Option(
            help="Segments of the log are copied to where snapshots lie, so that `yggdrasil snapshot restore --until` "
            "can go back to any time since the oldest snapshot.",
            runtime=True,
        ),
    ] = False
    archive_interval: Annotated[
        Whole,
        Field(ge=1, le=86_400),
        Option(
            help="What has come to the log is archived so often; a lost disk loses no more.",
            unit="seconds",
            runtime=True,
        ),
    ] = 60
    check_rate: Annotated[
        Size,
        Option(
            help="Bytes in a second that are read again to find damage before it matters; 0 for never.",
            unit="bytes",
            runtime=True,
        ),
    ] = MIB
    check_interval: Annotated[
        Whole,
        Field(ge=1, le=2_592_000),
        Option(
            help="Between two such readings. Where one finds damage of the logs or of the last snapshot, a whole "
            "snapshot is taken at once, which takes their place.",
            unit="seconds",
            runtime=True,
        ),
    ] = 3600
