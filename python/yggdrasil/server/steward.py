"""The steward: what takes time happens here and not in a worker. It changes shards only by sending commands."""

import asyncio
import socket

import structlog

from yggdrasil.server import log as logs
from yggdrasil.server.config import Config
from yggdrasil.server.config_live import changed
from yggdrasil.server.link import Link
from yggdrasil.server.messages import (
    TO_CHILD,
    Answer,
    Assignment,
    Drain,
    Drained,
    OptionsSet,
    Ready,
    SetOptions,
    Stop,
    ToChild,
)

log = structlog.stdlib.get_logger(__name__)


async def run(assignment: Assignment, config: Config, connection: socket.socket) -> int:
    """Lives as long as the node."""
    steward = _Steward(config)
    await steward.link.attach(connection)
    steward.link.send(Ready())
    log.info("steward is ready", run_id=assignment.node.run_id)
    await steward.stopped.wait()
    return 0


class _Steward:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.stopped = asyncio.Event()
        self.link: Link[ToChild] = Link(TO_CHILD, self._on_message, self.stopped.set)

    def _on_message(self, message: ToChild) -> None:
        match message:
            case SetOptions():
                self.config = changed(self.config, message.values.items())
                logs.set_level(self.config.log.loglevel)
                self.link.send(OptionsSet(id=message.id))
            case Drain():
                self.link.send(Drained())
            case Stop():
                self.stopped.set()
            case Answer():
                pass
