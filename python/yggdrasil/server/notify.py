"""What systemd is told: readiness, status, the watchdog (sd_notify's datagrams)."""

import os
import socket


class Notifier:
    """Sends states to the service manager; does nothing where there is none."""

    def __init__(self, address: str | None) -> None:
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if address else None
        self._is_stopping = False

    @classmethod
    def from_environment(cls) -> "Notifier":
        """The service manager of this process. Its variables are removed: they are not for our children."""
        return cls(os.environ.pop("NOTIFY_SOCKET", None))

    def send(self, *states: str) -> None:
        """Sends states such as READY=1. A service manager that does not listen is no reason to stop."""
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto("\n".join(states).encode(), self._address)
        except OSError:
            return

    def stopping(self, status: str) -> None:
        """Says, once, that the service ends."""
        if not self._is_stopping:
            self._is_stopping = True
            self.send("STOPPING=1", f"STATUS={status}")

    def close(self) -> None:
        """Nothing more is sent."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def watchdog_interval_s() -> float | None:
    """How often the service manager wants to hear from this process: half the time after which it gives up."""
    micros = os.environ.pop("WATCHDOG_USEC", "")
    pid = os.environ.pop("WATCHDOG_PID", "")
    if not micros.isdecimal() or int(micros) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(micros) / 2 / 1_000_000
