"""The socket pair between supervisor and children."""

import asyncio
import fcntl
import os
import socket
import struct
import termios
from contextlib import closing
from functools import partial

import pytest
from tests.wire import eventually

from yggdrasil.server.config import Config
from yggdrasil.server.errors import ConfigSetError
from yggdrasil.server.link import Link
from yggdrasil.server.messages import (
    FROM_CHILD,
    TO_CHILD,
    Answer,
    Assignment,
    Descriptors,
    Drain,
    GuestInfo,
    NodeInfo,
    NodeState,
    Request,
    SetOptions,
    ShapeInfo,
    WorkerDuty,
    encode,
    receive_assignment,
    send_assignment,
)
from yggdrasil.server.services import Services

NODE = NodeInfo(
    version="1",
    run_id="a" * 40,
    replication_id="0" * 40,
    shard_ids=("b" * 40,),
    supervisor_pid=1,
    started_at_ms=2,
    executable="python",
    config_file="",
    directory="/",
    hosts=("127.0.0.1",),
    port=3,
    worker_ports=(4,),
    unixsocket="",
    admin_port=0,
)
SHAPE = ShapeInfo(shards=1, arena_bytes=2, ring_bytes=3, databases=4, hash_seed=2**64 - 1)


@pytest.mark.parametrize("count", [0, 1, 200, 201, 450])
def test_an_assignment_arrives_with_all_its_descriptors(count: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, closing(os.fdopen(os.open("/dev/null", os.O_RDONLY))) as null:
        duty = WorkerDuty(shard=3, guests=(GuestInfo(id=1, leases=2),))
        sent = Assignment(
            name="shard-3", duty=duty, node=NODE, shape=SHAPE, config={"bind": "x" * 70000}, log_format="json"
        )
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        send_assignment(ours, sent, {"one": [null.fileno()], "none": [], "many": [null.fileno()] * count})
        ours.sendall(encode(Drain()))
        received = receive_assignment(theirs)
        assert received is not None
        assignment, descriptors = received
        assert assignment.model_copy(update={"descriptors": {}}) == sent
        taken = [descriptors.take_one("one"), *descriptors.take("many")]
        assert len(taken) == len(set(taken)) == count + 1
        assert descriptors.take("none") == descriptors.take("unknown") == []
        for descriptor in taken:
            os.close(descriptor)
        # What follows is left for the event loop.
        assert TO_CHILD.validate_json(theirs.recv(1000)) == Drain()


def test_descriptors_that_nobody_takes_are_closed() -> None:
    one, other = os.open("/dev/null", os.O_RDONLY), os.open("/dev/null", os.O_RDONLY)
    descriptors = Descriptors({"one": 1, "other": 1}, [one, other])
    assert descriptors.take_one("one") == one
    descriptors.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(other)
    os.close(one)


def test_a_spare_ends_when_the_supervisor_has_gone() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        assert receive_assignment(theirs) is None


async def test_services_ask_the_supervisor() -> None:
    ours, theirs = socket.socketpair()
    asked: list[Request] = []

    def answer(request: object) -> None:
        assert isinstance(request, Request)
        asked.append(request)
        state = NodeState(pids=(1,), restarts=(2,), steward_pid=3) if request.ask == "state" else None
        error = "ERR no file" if request.ask == "config-rewrite" else None
        supervisor.send(Answer(id=request.id, error=error, state=state))

    def answered(message: object) -> None:
        assert isinstance(message, Answer)
        services.answered(message)

    supervisor = Link(FROM_CHILD, answer, lambda: None)
    child = Link(TO_CHILD, answered, lambda: None)
    services = Services(NODE, 0, Config(), child)
    await supervisor.attach(ours)
    await child.attach(theirs)

    assert (await services.state()).restarts == (2,)
    await services.config_set([("TIMEOUT", "5"), ("save", "")])
    await services.shutdown(now=True)
    with pytest.raises(ConfigSetError, match="ERR no file"):
        await services.config_rewrite()
    with pytest.raises(ConfigSetError, match="can't set immutable config"):
        await services.config_set([("port", "1")])
    assert [(request.ask, request.values, request.now) for request in asked] == [
        ("state", {}, False),
        ("config-set", {"timeout": "5"}, False),
        ("shutdown", {}, True),
        ("config-rewrite", {}, False),
    ]
    supervisor.close()
    child.close()
    await asyncio.sleep(0)


def is_taken(sender: socket.socket) -> bool:
    """Whether the other end has received all that was sent."""
    return struct.unpack("i", fcntl.ioctl(sender, termios.TIOCOUTQ, bytes(4))) == (0,)


async def test_messages_that_arrive_in_pieces_are_put_together() -> None:
    ours, theirs = socket.socketpair()
    received: list[object] = []
    gone = asyncio.Event()
    link = Link(TO_CHILD, received.append, gone.set)
    await link.attach(theirs)
    with ours:
        line = encode(SetOptions(id=7, values={"timeout": "5"}))
        for piece in (line[:10], line[10:] + line, line):
            ours.sendall(piece)
            await asyncio.to_thread(eventually, partial(is_taken, ours))
    await gone.wait()
    assert received == [SetOptions(id=7, values={"timeout": "5"})] * 3
