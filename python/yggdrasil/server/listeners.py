"""The sockets a node listens on.

The supervisor opens them all and keeps them open, so that connections wait in the backlog while a worker is replaced.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from yggdrasil.server.config import Config
from yggdrasil.server.errors import PortInUseError, StartError

_KEEPALIVE_PROBES = 3
_OWN_PORT_ATTEMPTS = 20
_ADMIN_BACKLOG = 128

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TlsSockets:
    """Those for TLS; `common` and `own` as below."""

    common: list[list[socket.socket]] = field(default_factory=list)
    own: list[list[socket.socket]] = field(default_factory=list)

    @property
    def own_ports(self) -> list[int]:
        """The own port of each worker; empty without TLS."""
        return _ports(self.own)

    def of(self, shard: int) -> tuple[list[int], list[int]]:
        """The descriptors of a worker: on the common port, and on its own."""
        common, own = ([one.fileno() for one in all_of[shard]] if all_of else [] for all_of in (self.common, self.own))
        return common, own

    def all(self) -> Iterator[socket.socket]:
        """Those of all workers."""
        for sockets in (*self.common, *self.own):
            yield from sockets

    def close(self) -> None:
        """Closes them."""
        for one in self.all():
            one.close()


@dataclass(slots=True)
class Listeners:
    """Sockets by their use. `common` and `own` have one list a worker, with one socket for each address."""

    common: list[list[socket.socket]] = field(default_factory=list)
    own: list[list[socket.socket]] = field(default_factory=list)
    tls: TlsSockets = field(default_factory=TlsSockets)
    unix: socket.socket | None = None
    near: socket.socket | None = None
    admin: socket.socket | None = None
    paths: list[tuple[Path, int]] = field(default_factory=list)
    """Paths of Unix sockets, with the inode that is ours."""

    @property
    def own_ports(self) -> list[int]:
        """The own port of each worker; empty without TCP."""
        return _ports(self.own)

    @property
    def admin_port(self) -> int:
        """The port of the admin HTTP server; 0 without one."""
        return _ports([[self.admin]])[0] if self.admin is not None else 0

    @property
    def hosts(self) -> list[str]:
        """The addresses that are listened on."""
        common = self.common or self.tls.common
        return [str(one.getsockname()[0]) for one in common[0]] if common else []

    def tcp(self) -> Iterator[socket.socket]:
        """All sockets for clients but the Unix one."""
        for sockets in (*self.common, *self.own):
            yield from sockets
        yield from self.tls.all()

    def set_keepalive(self, seconds: int) -> None:
        """Connections inherit these settings from the socket that accepted them."""
        for one in self.tcp():
            one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(seconds > 0))
            if seconds > 0:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, seconds // _KEEPALIVE_PROBES))
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)

    def close_for_clients(self) -> None:
        """No new client is taken; the Unix socket's path goes too."""
        for one in self.tcp():
            one.close()
        self.common, self.own, self.tls = [], [], TlsSockets()
        for local in (self.unix, self.near):
            if local is not None:
                local.close()
        self.unix = self.near = None
        for path, inode in self.paths:
            # The path may be another node's by now.
            if _inode(path) == inode:
                path.unlink(missing_ok=True)
        self.paths.clear()

    def close(self) -> None:
        """Closes everything."""
        self.close_for_clients()
        if self.admin is not None:
            self.admin.close()
            self.admin = None


def open_listeners(config: Config) -> Listeners:
    """Opens all sockets of a node; none stays open when one cannot be had."""
    listeners = Listeners()
    try:
        if config.network.port:
            addresses = _addresses(config)
            listeners.common = _open_common(config, addresses, config.network.port, "port")
            if not config.tls.cluster:
                listeners.own = _open_own_or_others(config, addresses)
        listeners.tls = open_tls(config)
        listeners.set_keepalive(config.network.tcp_keepalive)
        if config.network.unixsocket:
            path = config.directory / config.network.unixsocket
            listeners.unix = _open_unix(config, "unixsocket", path, config.network.unixsocketperm, listeners)
        if config.near.socket:
            path = config.directory / config.near.socket
            listeners.near = _open_unix(config, "near-socket", path, config.near.socket_perm, listeners)
        if config.admin.port:
            listeners.admin = _open_admin(config)
    except BaseException:
        listeners.close()
        raise
    return listeners


def open_tls(config: Config) -> TlsSockets:
    """Opens the sockets for TLS; none stays open when one cannot be had."""
    if not config.tls.port:
        return TlsSockets()
    addresses = _addresses(config)
    opened = TlsSockets(common=_open_common(config, addresses, config.tls.port, "tls-port"))
    try:
        own = _open_own(config, addresses, config.tls_worker_ports, "tls-worker-port-base")
    except BaseException:
        opened.close()
        raise
    return TlsSockets(opened.common, own)


def _addresses(config: Config) -> list[str]:
    """The addresses of `bind` that this machine has."""
    chosen: list[str] = []
    for text in config.network.bind_addresses:
        address = {"*": "0.0.0.0", "::*": "::"}.get(text.removeprefix("-"), text.removeprefix("-"))  # noqa: S104
        if text.startswith("-") and not _is_here(address):
            continue
        chosen.append(address)
    if not chosen:
        raise StartError(f"none of the addresses of bind ({config.network.bind}) is on this machine")
    return chosen


def _is_here(address: str) -> bool:
    try:
        with _socket(address) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _open_common(config: Config, addresses: Sequence[str], port: int, option: str) -> list[list[socket.socket]]:
    backlog = config.network.tcp_backlog
    by_address: list[list[socket.socket]] = []
    for address in addresses:
        # The first socket is bound without SO_REUSEPORT, so that a port in use is refused: another node's sockets
        # have the option too and would share the port with us. Set afterwards, it lets in our own further ones.
        first = _open(address, port, backlog, option)
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        by_address.append([first])
        for _ in range(1, config.node.shards):
            by_address[-1].append(_open(address, port, backlog, option, reuse_port=True))
    return [list(sockets) for sockets in zip(*by_address, strict=True)]


def _open_own_or_others(config: Config, addresses: Sequence[str]) -> list[list[socket.socket]]:
    """Opens the ports of the configuration; where one of those that nobody chose is taken, any that are free."""
    try:
        return _open_own(config, addresses, config.worker_ports, "worker-port-base")
    except PortInUseError as taken:
        if not config.is_default("worker-port-base"):
            raise
        own = _open_own(config, addresses, [0] * config.node.shards, "worker-port-base")
        log.info("other ports are chosen for the workers", reason=str(taken), worker_ports=_ports(own))
        return own


def _open_own(config: Config, addresses: Sequence[str], ports: Sequence[int], option: str) -> list[list[socket.socket]]:
    """Opens these ports; none stays open when one cannot be had."""
    with contextlib.ExitStack() as opened:
        own = [
            [opened.enter_context(one) for one in _open_own_of_one(config, addresses, port, option)] for port in ports
        ]
        opened.pop_all()
    return own


def _ports(own: Sequence[Sequence[socket.socket]]) -> list[int]:
    return [int(sockets[0].getsockname()[1]) for sockets in own]


def _open_admin(config: Config) -> socket.socket:
    """Opens the port of the configuration; where it is taken and nobody chose it, any that is free."""
    try:
        return _open(config.admin.bind, config.admin.port, _ADMIN_BACKLOG, "admin-port")
    except PortInUseError as taken:
        if not config.is_default("admin-port"):
            raise
        admin = _open(config.admin.bind, 0, _ADMIN_BACKLOG, "admin-port")
        log.info("another port is chosen for the admin HTTP server", reason=str(taken), admin_port=_ports([[admin]])[0])
        return admin


def _open_own_of_one(config: Config, addresses: Sequence[str], port: int, option: str) -> list[socket.socket]:
    """A worker has the same own port on all addresses, also when any will do."""
    for attempt in range(_OWN_PORT_ATTEMPTS):
        sockets: list[socket.socket] = []
        try:
            for address in addresses:
                chosen = port or (int(sockets[0].getsockname()[1]) if sockets else 0)
                sockets.append(_open(address, chosen, config.network.tcp_backlog, option))
        except StartError:
            for one in sockets:
                one.close()
            if port or attempt == _OWN_PORT_ATTEMPTS - 1:
                raise
        else:
            return sockets
    raise AssertionError("unreachable")


def _socket(address: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)


def _open(address: str, port: int, backlog: int, option: str, *, reuse_port: bool = False) -> socket.socket:
    try:
        one = _socket(address)
    except OSError as error:
        raise StartError(f"{address} port {port} cannot be listened on ({option}): {error.strerror}") from None
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it, whatever the loop does about sockets that it did not make.
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if reuse_port:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if one.family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind((address, port))
        one.listen(backlog)
        one.setblocking(False)
    except OSError as error:
        one.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"{address} port {port} is in use; stop who listens there or choose another with --{option}"
            ) from None
        raise StartError(f"{address} port {port} cannot be listened on ({option}): {error.strerror}") from None
    return one


def _open_unix(config: Config, option: str, path: Path, permissions: str, listeners: Listeners) -> socket.socket:
    _remove_stale(option, path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as short:
            one.bind(short)
        listeners.paths.append((path, _inode(path)))
        if int(permissions, 8):
            path.chmod(int(permissions, 8))
        one.listen(config.network.tcp_backlog)
        one.setblocking(False)
    except OSError as error:
        one.close()
        raise StartError(f"{option} {path} cannot be listened on: {error.strerror or error}") from None
    return one


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """The address of a socket has at most 107 bytes, wherever the directory is."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _remove_stale(option: str, path: Path) -> None:
    """A socket file that nobody listens on is left from a node that was killed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartError(f"{option} {path} cannot be used: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise StartError(f"{option} {path} exists and is no socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            with _short(path) as short:
                probe.connect(short)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
        except FileNotFoundError:
            return
        except BlockingIOError:
            pass
        except OSError as error:
            raise StartError(f"{option} {path} cannot be used: {error.strerror}") from None
    raise StartError(f"{option} {path} is in use; stop who listens there or choose another path")


def _inode(path: Path) -> int:
    try:
        return path.lstat().st_ino
    except OSError:
        return 0
