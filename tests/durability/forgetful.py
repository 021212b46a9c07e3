"""A file that forgets what was not synced when it is told that the power is cut, for a loop device to stand on.

A FUSE server with one file in one directory, by the kernel's protocol (include/uapi/linux/fuse.h). It is a process
of its own, `python -m tests.durability.forgetful MOUNTPOINT IMAGE`, and hears `cut SEED` and `on` by its standard
input.
"""

import ctypes
import errno
import os
import random
import select
import stat
import struct
import sys
from pathlib import Path

NAME = b"disk"
FILE = 2
SECTORS = (512, 4096)
WRITE_BYTES_MAX = 1 << 20
LOOKUP, FORGET, GETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 14, 15, 16, 17, 18, 20
FLUSH, INIT, OPENDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 25, 26, 27, 29, 36, 38, 42
SILENT = {FORGET, INTERRUPT, DESTROY, BATCH_FORGET}
DIRECT_IO = 1
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
FOREVER_S = 1 << 30


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """An errno as the answer to a request."""


class Image:
    """The bytes of the disk, and what of them a power cut would take back."""

    def __init__(self, path: Path) -> None:
        self.file = os.open(path, os.O_RDWR)
        self.bytes = os.fstat(self.file).st_size
        self.sector = SECTORS[0]
        self.is_off = False
        self.before: dict[int, bytes] = {}
        """Sectors as they were when they were last synced, in the order in which they were written to since."""

    def check(self) -> None:
        """Refuses everything while the power is off."""
        if self.is_off:
            raise Refused(errno.EIO)

    def write(self, offset: int, data: bytes) -> None:
        """Writes, and remembers what was there."""
        for sector in range(offset // self.sector, -(-(offset + len(data)) // self.sector)):
            if sector not in self.before:
                self.before[sector] = os.pread(self.file, self.sector, sector * self.sector)
        os.pwrite(self.file, data, offset)

    def sync(self) -> None:
        """What was written stays."""
        self.before.clear()

    def cut(self, draw: random.Random) -> None:
        """Loses none, all, the last or some of the sectors that were not synced, and answers no more."""
        sectors = list(self.before)
        match draw.randrange(4):
            case 0:
                lost = []
            case 1:
                lost = sectors
            case 2:
                lost = sectors[draw.randrange(len(sectors) + 1) :]
            case _:
                lost = [sector for sector in sectors if draw.randrange(2)]
        for sector in lost:
            os.pwrite(self.file, self.before[sector], sector * self.sector)
        self.before.clear()
        self.is_off = True
        # Disks differ in what they write as a whole.
        self.sector = draw.choice(SECTORS)


class Server:
    """Answers the kernel."""

    def __init__(self, mountpoint: Path, image: Image) -> None:
        self.image = image
        self.fuse = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.fuse},rootmode=40000,user_id=0,group_id=0".encode()
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"forgetful", os.fsencode(mountpoint), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def run(self) -> None:
        """Until the standard input ends, or the file system is unmounted."""
        orders = sys.stdin.fileno()
        tell()
        while True:
            readable, _, _ = select.select([self.fuse, orders], [], [])
            if orders in readable and not self._obey(os.read(orders, 100)):
                return
            if self.fuse in readable:
                try:
                    request = os.read(self.fuse, WRITE_BYTES_MAX + 4096)
                except OSError as error:
                    if error.errno == errno.ENODEV:
                        return
                    continue
                self._answer(request)

    def _obey(self, order: bytes) -> bool:
        match order.split():
            case [b"cut", seed]:
                self.image.cut(random.Random(int(seed)))
            case [b"on"]:
                self.image.is_off = False
            case _:
                return False
        tell()
        return True

    def _answer(self, request: bytes) -> None:
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        if opcode in SILENT:
            return
        body, failure = b"", 0
        try:
            body = self._execute(opcode, node, request[40:])
        except Refused as refused:
            failure = refused.args[0]
        try:
            os.write(self.fuse, struct.pack("<IiQ", 16 + len(body), -failure, unique) + body)
        except OSError:
            # Whoever asked has gone.
            return

    def _execute(self, opcode: int, node: int, arguments: bytes) -> bytes:
        match opcode:
            case _ if opcode == INIT:
                flags = BIG_WRITES | MAX_PAGES
                return struct.pack(
                    "<IIIIHHIIHHI28x", 7, 31, 0, flags, 16, 12, WRITE_BYTES_MAX, 1, WRITE_BYTES_MAX // 4096, 0, 0
                )
            case _ if opcode == LOOKUP:
                if arguments.rstrip(b"\0") != NAME:
                    raise Refused(errno.ENOENT)
                return struct.pack("<QQQQII", FILE, 0, FOREVER_S, FOREVER_S, 0, 0) + self._attributes(FILE)
            case _ if opcode == GETATTR:
                return struct.pack("<QII", FOREVER_S, 0, 0) + self._attributes(node)
            case _ if opcode in {OPEN, OPENDIR}:
                return struct.pack("<QII", 1, DIRECT_IO if opcode == OPEN else 0, 0)
            case _ if opcode in {FLUSH, RELEASE, RELEASEDIR}:
                return b""
            case _ if opcode == STATFS:
                return struct.pack("<QQQQQIIII24x", 0, 0, 0, 1, 0, 4096, 255, 4096, 0)
        return self._transfer(opcode, arguments)

    def _transfer(self, opcode: int, arguments: bytes) -> bytes:
        self.image.check()
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", arguments)
            return os.pread(self.image.file, size, offset)
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", arguments)
            self.image.write(offset, arguments[40 : 40 + size])
            return struct.pack("<II", size, 0)
        if opcode == FSYNC:
            self.image.sync()
            return b""
        raise Refused(errno.ENOSYS)

    def _attributes(self, node: int) -> bytes:
        is_file = node == FILE
        mode = stat.S_IFREG | 0o600 if is_file else stat.S_IFDIR | 0o700
        size = self.image.bytes if is_file else 0
        return struct.pack("<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def tell() -> None:
    """Says that what was asked for is done."""
    print("done", flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    Server(Path(sys.argv[1]), Image(Path(sys.argv[2]))).run()
