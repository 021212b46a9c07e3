"""A server that says what a test wants, cut into pieces as it wants."""

import re
import socket
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

_REQUEST = re.compile(rb"\*(\d+)\r\n")
_HELLO = b"%1\r\n+proto\r\n:3\r\n"


class Scripted:
    """Accepts connections and answers GET by `script(n)`, pieces for its n-th GET, anything else as Redis would.

    An empty piece closes the connection there. Pieces are sent one by one without being joined on the way.
    """

    def __init__(self, script: Callable[[int], Sequence[bytes]]) -> None:
        self._script = script
        self.gets = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            # Requests of these tests are small and come whole.
            while data := connection.recv(65536):
                for request in _REQUEST.split(data)[2::2]:
                    name = request.split(b"\r\n")[1].upper()
                    if name != b"GET":
                        connection.sendall(_HELLO if name == b"HELLO" else b"+OK\r\n")
                        continue
                    pieces = self._script(self.gets)
                    self.gets += 1
                    for piece in pieces:
                        if not piece:
                            connection.shutdown(socket.SHUT_RDWR)
                            return
                        connection.sendall(piece)
        except OSError:
            return
