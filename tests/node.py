"""A real node for tests: `yggdrasil.Node`, with what only tests ask of its processes."""

import os
import shutil
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import yggdrasil
from yggdrasil.node import HOST, READY_TIMEOUT_S, STOP_TIMEOUT_S, NodeError, command, environment, free_port

__all__ = ["HOST", "Node", "NodeError", "command", "environment", "free_port", "wait_until_gone"]


class Node(yggdrasil.Node):
    """A running node. `with Node.start(shards=3, maxmemory="10mb") as node: ...`."""

