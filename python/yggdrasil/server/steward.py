"""The steward: what takes time happens here and not in a worker. It changes shards only by sending commands."""

import asyncio
import itertools
import json
import os
import socket
from pathlib import Path

import structlog

from yggdrasil._core import NodeShape
from yggdrasil.server import log as logs
from yggdrasil.server.config import Config
from yggdrasil.server.config_live import changed
from yggdrasil.server.errors import ErrandError, SupervisorError
from yggdrasil.server.link import Link
from yggdrasil.server.messages import (
    TO_CHILD,
    Answer,
    Assignment,
    Descriptors,
    Drain,
    Drained,
    Errand,
    ErrandDone,
    NodeState,
    OptionsSet,
    Ready,
    Request,
    SetOptions,
    StewardDuty,
    StewardState,
    Stop,
    ToChild,
)
from yggdrasil.server.snapshots.door import Owners
from yggdrasil.server.snapshots.keeper import Keeper
from yggdrasil.server.snapshots.places import open_store

log = structlog.stdlib.get_logger(__name__)


async def run(
    assignment: Assignment, duty: StewardDuty, config: Config, descriptors: Descriptors, connection: socket.socket
) -> int:
    """Lives as long as the node."""
    steward = _Steward(assignment, duty, config, descriptors)
    await steward.link.attach(connection)
    await steward.keeper.start()
    steward.link.send(Ready())
    log.info("steward is ready", run_id=assignment.node.run_id)
    await steward.stopped.wait()
    await steward.keeper.stop()
    return 0


class _Steward:
    def __init__(self, assignment: Assignment, duty: StewardDuty, config: Config, descriptors: Descriptors) -> None:
        self.config = config
        self.stopped = asyncio.Event()
        self.link: Link[ToChild] = Link(TO_CHILD, self._on_message, self.stopped.set)
        self._numbers = itertools.count(1)
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._errands: set[asyncio.Task[None]] = set()
        arenas = descriptors.take("arenas")
        logs = Path(assignment.node.log_directory) if assignment.node.log_directory else None
        self.keeper = Keeper(
            config,
            assignment.node.replication_id,
            NodeShape(**assignment.shape.model_dump()),
            arenas,
            open_store(config),
            Owners(duty.doors),
            logs,
            lambda state: self.link.send(StewardState(snapshots=state)),
            self._node_state,
        )
        # They are mapped.
        for descriptor in arenas:
            os.close(descriptor)
        descriptors.close()

    def _on_message(self, message: ToChild) -> None:
        match message:
            case SetOptions():
                self.config = self.keeper.config = changed(self.config, message.values.items())
                logs.set_level(self.config.log.loglevel)
                self.link.send(OptionsSet(id=message.id))
            case Errand():
                task = asyncio.get_running_loop().create_task(self._run(message))
                self._errands.add(task)
                task.add_done_callback(self._errands.discard)
            case Answer():
                waiting = self._asked.pop(message.id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case Drain():
                self.link.send(Drained())
            case Stop():
                self.stopped.set()

    async def _run(self, errand: Errand) -> None:
        done = ErrandDone(id=errand.id, error="ERR the steward failed; its log says why")
        try:
            done = ErrandDone(id=errand.id, result=json.dumps(await self.keeper.run(errand.values)))
        except ErrandError as error:
            done = ErrandDone(id=errand.id, error=str(error))
        except Exception:
            log.exception("an errand failed", errand=errand.values)
        finally:
            # A panic of the engine is no Exception, and somebody waits.
            self.link.send(done)

    async def _node_state(self) -> NodeState:
        request = Request(id=next(self._numbers), ask="state")
        waiting: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[request.id] = waiting
        self.link.send(request)
        answer = await waiting
        if answer.state is None:
            raise SupervisorError(answer.error or "the supervisor does not tell the state of the node")
        return answer.state
