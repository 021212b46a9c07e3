"""Our clients, sync and asyncio, against every server and on both protocols."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import pytest
import uvloop
from tests.targets import Target

from yggdrasil.client import AsyncClient, Client


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each event loop receives in its own way."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
def client(target: Target, resp: int) -> Iterator[Client]:
    with Client(host=target.host, port=target.port, protocol=resp) as connected:
        yield connected


@pytest.fixture
def node_client(node_target: Target, resp: int) -> Iterator[Client]:
    """For what the peer has not."""
    with Client(host=node_target.host, port=node_target.port, protocol=resp) as connected:
        yield connected


@pytest.fixture
async def aclient(target: Target, resp: int) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(host=target.host, port=target.port, protocol=resp) as connected:
        yield connected


@pytest.fixture
async def node_aclient(node_target: Target, resp: int) -> AsyncIterator[AsyncClient]:
    """For what the peer has not."""
    async with AsyncClient(host=node_target.host, port=node_target.port, protocol=resp) as connected:
        yield connected
