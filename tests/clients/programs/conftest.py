"""What tests of programs share: the address of the server, and programs as processes that end with the test."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from tests.targets import Target

BIN = Path(sys.executable).parent
HERE = Path(__file__).parent
Start = Callable[..., "Program"]


class Program:
    """A running program, in a process group of its own."""

    def __init__(self, command: list[str], url: str, log: Path) -> None:
        self.log_path = log
        self._log = log.open("ab")
        environment = os.environ | {"REDIS_URL": url, "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, env=environment, cwd=HERE, start_new_session=True
        )

    def kill(self) -> None:
        """Ends the program and all its children as a crash would."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._log.close()

    def output(self) -> str:
        """All that it has printed so far."""
        return self.log_path.read_text(errors="replace")


@pytest.fixture
def url(target: Target) -> str:
    """The server's address, as programs are configured with it."""
    return f"redis://{target.host}:{target.port}"


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    """A plain client, to look at what programs have left."""
    with redis.Redis.from_url(url) as connected:
        yield connected


@pytest.fixture
def start(url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a program of the environment by its name, with REDIS_URL set."""
    running: list[Program] = []

    def started(name: str, *arguments: str | int) -> Program:
        log = tmp_path / f"{name}-{len(running)}.log"
        running.append(Program([str(BIN / name), *map(str, arguments)], url, log))
        return running[-1]

    yield started
    for program in running:
        program.kill()
        print(program.output())  # noqa: T201 - shown where the test fails
