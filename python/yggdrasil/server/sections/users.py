"""Users of the node, and what they may do."""

from typing import Annotated, Literal

from yggdrasil.server.option import Choice, Count, Option, Section, UserLines


class Users(Section):
    """Users of the node, and what they may do."""

    user: Annotated[
        UserLines,
        Option(
            help="Users: one a line, a name with the rules that ACL SETUSER takes. ACL commands show and change them.",
            allowed='lines of a name and rules such as "alice on >word ~app:* +@read", in the file also a list',
            redis=True,
            secret=True,
            file_only=True,
        ),
    ] = ""
    aclfile: Annotated[
        str,
        Option(
            help="Path of a file with the users, relative to dir; empty for none. ACL LOAD reads it again, ACL SAVE "
            "writes it. It replaces the option user, and requirepass counts no more.",
            redis=True,
            allowed="a path, where no user is configured",
        ),
    ] = ""
    acl_pubsub_default: Annotated[
        Literal["allchannels", "resetchannels"],
        Choice,
        Option(help="Channels that new users may use: all, or none.", redis=True, runtime=True, engine=True),
    ] = "resetchannels"
    acllog_max_len: Annotated[
        Count, Option(help="Entries that ACL LOG keeps.", redis=True, runtime=True, engine=True)
    ] = 128
