"""What is kept on disk, and what the reply to a write promises."""

from typing import Annotated, Literal

from pydantic import Field

from yggdrasil.server.namespaces import check_namespaces
from yggdrasil.server.option import GIB, MIB, Choice, Kind, Option, Section, Size, Whole

Namespaces = Annotated[str, check_namespaces, Kind.NAMESPACES]


class Durability(Section):
    """What is kept on disk, and what the reply to a write promises."""

    ack: Annotated[
        Literal["auto", "none", "fast", "strong", "sync"],
        Choice,
        Option(
            help="The promise behind the reply to a write. none: nothing is kept on disk. fast: the change survives "
            "any end of the node's processes, and a power cut after the next flush. sync: it survives everything, "
            "without a system call where dir lies in persistent memory (a DAX mount). strong waits for replicas, and "
            "cannot be used before there are any. A connection may ask for more or less by CLIENT ACK. auto: fast "
            "where dir is given, otherwise none.",
            engine=True,
        ),
    ] = "auto"
    namespaces: Annotated[
        Namespaces,
        Option(
            help="Other promises for keys with a prefix, the longest of which counts; NAMESPACE SET changes them, and "
            "from then on namespaces.txt in dir counts instead of what is configured. fast+ and sync+: a connection "
            "may ask for less by CLIENT ACK. In the file each can "
            'be a table: [[namespace]] with prefix = "...", ack = "...", lower = true.',
            runtime=True,
            engine=True,
            allowed="groups of PREFIX ACK, where ACK is none, fast, fast+, sync or sync+, and PREFIX is as in a URL",
        ),
    ] = ""
    log_dir: Annotated[
        str,
        Option(
            help="A directory in which the logs have one of their own, such as one on another disk or in persistent "
            "memory; in dir there is a link to it, which is followed whether this is given or not. Empty: they are in "
            "dir. Logs that there are already stay where they are: the node does not start rather than move them.",
            allowed="a directory",
        ),
    ] = ""
    flush_interval: Annotated[
        Whole,
        Field(ge=1, le=60_000),
        Option(help="What is not waited for is made durable so often: a power cut loses no more.", unit="milliseconds"),
    ] = 200
    log_unflushed_max: Annotated[
        Size,
        Field(ge=MIB, le=24 * MIB),
        Option(
            help="Bytes that each shard's log may have written and not made durable. Beyond that writers wait for the "
            "disk; they are not refused.",
            unit="bytes",
        ),
    ] = 24 * MIB
    log_segment_size: Annotated[
        Size,
        Field(ge=MIB, le=4 * GIB),
        Option(
            help="Disk space that each shard's log sets aside at a time; a longer record gets what it needs.",
            unit="bytes",
        ),
    ] = 64 * MIB
