"""Processes of the same machine that read the shared memory."""

from typing import Annotated, ClassVar

from pydantic import Field

from yggdrasil._core import LEASES_MAX
from yggdrasil.server.option import NearUsers, Octal, Option, Section, Whole


class Near(Section):
    """Processes of the same machine that read the shared memory."""

    prefix: ClassVar[str] = "near"

    socket: Annotated[
        str,
        Option(
            help="Path of the Unix socket through which processes of this machine get to read the shared memory; "
            "relative to dir; empty for none.",
            allowed="a path",
        ),
    ] = "near.sock"
    socket_perm: Annotated[
        Octal,
        Option(help="Permissions of that socket; 0 leaves what the umask gives."),
    ] = "600"
    users: Annotated[
        NearUsers,
        Option(
            help="Who may read the shared memory: groups of a name, a token, and the prefixes of the keys that may be "
            "read, separated by commas, * for all. #HEX is the SHA-256 of a token. With none, and without requirepass, "
            "only the user that the node runs as may, and root.",
            runtime=True,
            secret=True,
        ),
    ] = ""
    readers_max: Annotated[
        Whole,
        Field(ge=1, le=1024),
        Option(help="Processes that may read the shared memory at a time.", runtime=True),
    ] = 64
    leases_max: Annotated[
        Whole,
        Field(ge=1, le=LEASES_MAX),
        Option(help="Large values that one of them may look at in place at a time."),
    ] = 256
    lease_age: Annotated[
        Whole,
        Field(ge=1, le=2**31 - 1),
        Option(
            help="A process that still looks at a large value for this long after the value was changed, deleted or "
            "evicted is cut off.",
            unit="seconds",
            runtime=True,
            engine=True,
        ),
    ] = 60
