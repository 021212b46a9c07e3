"""A port where TLS ends before the node."""

import asyncio
import contextlib
import ssl
import threading
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self


class TlsFront:
    """Relays what comes over TLS to another port, in a thread of its own. `directory` has cert.pem and key.pem."""

    def __init__(self, directory: Path, host: str, port: int) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        self._behind = (host, port)
        self._started: Future[int] = Future()
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        self.port = self._started.result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with await asyncio.start_server(self._relay, "127.0.0.1", 0, ssl=self._context) as server:
            self._started.set_result(server.sockets[0].getsockname()[1])
            await self._end.wait()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection(*self._behind)
        directions = [_copy(reader, behind_writer), _copy(behind_reader, writer)]
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(*directions)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
