"""A real node for tests: `yggdrasil.Node`, with what only tests ask of its processes."""

import os
import shutil
import time
from pathlib import Path
from types import TracebackType

import yggdrasil
from yggdrasil.node import HOST, READY_TIMEOUT_S, STOP_TIMEOUT_S, NodeError, command, environment, free_port

__all__ = ["HOST", "Node", "NodeError", "command", "environment", "free_port", "wait_until_gone"]


class Node(yggdrasil.Node):
    """A running node of three shards with an admin port and without a log.

    Its directory goes unless YGGDRASIL_TEST_KEEP is set.
    """

    def __init__(
        self,
        shards: int = 3,
        *,
        directory: Path | str | None = None,
        **options: str | int | Path | None,
    ) -> None:
        super().__init__(shards, directory=directory, keep_directory=True, **{"ack": "none", **options})

    def _free_ports(self) -> dict[str, int]:
        return {**super()._free_ports(), "admin_port": free_port()}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if "YGGDRASIL_TEST_KEEP" not in os.environ:
            shutil.rmtree(self.dir, ignore_errors=True)

    def pids(self) -> dict[str, int]:
        """The node's processes: supervisor, shard-0, shard-1 ..., steward, spare."""
        found = {"supervisor": self.pid}
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        for pid in map(int, children.read_text().split()):
            try:
                name = Path(f"/proc/{pid}/comm").read_text().strip()
            except OSError:
                continue
            if name.startswith("ygg-"):
                found[name.removeprefix("ygg-")] = pid
        return found

    def all_pids(self) -> dict[str, int]:
        """`pids`, once the spare is there, which is started last and waits for its role."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while "spare" not in (found := self.pids()):
            if time.monotonic() > deadline:
                raise NodeError(f"there is no spare process\n{self.log()}")
            time.sleep(0.01)
        return found


def wait_until_gone(pids: dict[str, int]) -> None:
    """Until none of the processes exists any more."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while left := {name: pid for name, pid in pids.items() if Path(f"/proc/{pid}").exists()}:
        if time.monotonic() > deadline:
            raise NodeError(f"still there: {left}")
        time.sleep(0.01)
