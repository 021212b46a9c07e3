"""Workers are killed again and again under load: everyone else goes on, nobody waits for ever."""

import asyncio
import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.node import HOST, Node
from tests.server.asking import ask, connect
from tests.wire import OK, encode, eventually

SHARDS = 3
KILLS = 100
CLIENTS = 8
REPLY_WITHIN_S = 60.0
REPLACED_WITHIN_S = 1.0


@dataclass
class Load:
    """Clients that go on whatever happens to them, and what they saw."""

    node: Node
    replies: int = 0
    errors: set[bytes] = field(default_factory=set)
    disconnects: int = 0
    stopping: bool = False
    replied: asyncio.Event = field(default_factory=asyncio.Event)

    async def wait_for_replies(self) -> None:
        """Until somebody got a reply from now on."""
        self.replied.clear()
        async with asyncio.timeout(REPLY_WITHIN_S):
            await self.replied.wait()

    async def client(self, port: int, seed: int) -> None:
        chance = random.Random(seed)
        while not self.stopping:
            try:
                reader, writer = await asyncio.open_connection(HOST, port)
            except ConnectionError:
                self.disconnects += 1
                continue
            try:
                while not self.stopping:
                    await self.request(reader, writer, chance)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.disconnects += 1
            finally:
                writer.close()

    async def request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chance: random.Random) -> None:
        """One request or transaction, about keys of any shard; no reply within the time fails the test."""
        keys = [b"key-%d" % chance.randrange(1000) for _ in range(4)]
        requests: list[tuple[bytes, ...]] = chance.choice(
            [
                [(b"GET", keys[0])],
                [(b"SET", keys[0], b"x" * chance.randrange(2000))],
                [(b"INCR", b"n" + keys[0])],
                [(b"MGET", *keys)],
                [(b"MSET", keys[0], b"1", keys[1], b"2", keys[2], b"3")],
                [(b"DEL", *keys)],
                [(b"DBSIZE",)],
                [(b"MULTI",), (b"SET", keys[0], b"1"), (b"SET", keys[1], b"2"), (b"EXEC",)],
            ]
        )
        writer.write(b"".join(encode(*request) for request in requests))
        try:
            async with asyncio.timeout(REPLY_WITHIN_S):
                for _ in requests:
                    await self.reply(reader)
        except TimeoutError:
            port = writer.get_extra_info("peername")[1]
            place = self.node.worker_ports.index(port) if port in self.node.worker_ports else "common port"
            raise AssertionError(f"no reply to {requests} through {place}") from None
        self.replies += 1
        self.replied.set()

    async def reply(self, reader: asyncio.StreamReader) -> None:
        line = await reader.readuntil(b"\r\n")
        if line.startswith(b"-"):
            self.errors.add(line)
        elif line.startswith(b"$") and line != b"$-1\r\n":
            await reader.readexactly(int(line[1:]) + 2)
        elif line.startswith(b"*"):
            for _ in range(int(line[1:])):
                await self.reply(reader)


def pid_of(node: Node, name: str) -> int:
    """A process of the node. The kernel's list of children may lack one for a moment while another ends."""
    pid: int = eventually(lambda: node.pids().get(name))
    return pid


async def answers_again(port: int) -> None:
    """Until a PING is answered. A worker that is being killed may still take a connection, which then ends."""
    async with asyncio.timeout(REPLY_WITHIN_S):
        while True:
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(b"*1\r\n$4\r\nPING\r\n")
                line = await reader.readline()
            except ConnectionError:
                line = b""
            finally:
                writer.close()
            if line:
                assert line == b"+PONG\r\n"
                return


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


@pytest.mark.timeout(1200)
async def test_a_hundred_killed_workers_hang_nobody() -> None:
    with Node(shards=SHARDS) as node:
        # The spare is there: the first successor at least has its imports behind it.
        node.all_pids()
        descriptors = open_files(node.pid)
        load = Load(node)
        ports = [node.port, *node.worker_ports]
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(load.client(ports[number % len(ports)], number))
            replaced_s = []
            for kill in range(KILLS):
                await asyncio.sleep(0.05)
                shard = kill % SHARDS
                pid = pid_of(node, f"shard-{shard}")
                has_spare = "spare" in node.pids()
                os.kill(pid, signal.SIGKILL)
                start = time.monotonic()
                await answers_again(node.worker_ports[shard])
                # Where kills come faster than spares, a successor has its imports to do first.
                if has_spare:
                    replaced_s.append(time.monotonic() - start)
                await load.wait_for_replies()
            load.stopping = True
        # A busy machine slows some of them; were the node too slow, all of them would be.
        assert replaced_s
        assert sorted(replaced_s)[len(replaced_s) // 4] < REPLACED_WITHIN_S
        assert load.replies > KILLS
        assert all(error.startswith(b"-ERR ") for error in load.errors), load.errors
        for port in ports:
            assert ask(port, "PING") == "PONG"
        with connect(node.port) as c:
            assert c("FLUSHALL") == OK
            for number in range(100):
                assert c("SET", f"key-{number}", "v") == OK, "no shard is left reserved"
            assert c("DBSIZE") == 100
        after = node.all_pids()
        assert set(after) == {"supervisor", "steward", "spare", *(f"shard-{shard}" for shard in range(SHARDS))}
        assert abs(open_files(node.pid) - descriptors) <= 3
        assert "Traceback" not in node.log()
