"""The names of a node's processes in `ps` and `top`."""

from setproctitle import setproctitle, setthreadtitle

from yggdrasil.server.messages import NodeInfo


def name_process(name: str, node: NodeInfo | None = None) -> None:
    """Names this process by its role and its node; a spare does not know its node yet.

    The title stands in place of the command line, which may have a password in it.
    """
    place = "" if node is None else f" {node.address}"
    setproctitle(f"yggdrasil: {name}{place}")
    # Short names are cut off after 15 bytes, and the title has set this one, too.
    setthreadtitle(f"ygg-{name}")
