"""Disks that fail under a running node: what is kept is refused with the cause, all else goes on, and nothing is lost.

The disk is a file system in a file on a small tmpfs. While that is full, the disk takes no write where there was none.
"""

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.durability.test_promises import fill_up, info
from tests.durability.test_recovery import readyz, serving
from tests.node import HOST, Node
from tests.wire import OK, Error, Wire, eventually

DISK_BYTES = 64 << 20
MEMORY_BYTES = 80 << 20
VALUE = "x" * 10_000
NAMESPACES = "no%3A none"


@dataclass
class Disk:
    """A file system that can be made to fail."""

    root: Path
    memory: Path

    def fail(self) -> None:
        """Lets all writes to where zeros stand fail from now on."""
        subprocess.run(["sync", "--file-system", self.root], check=True)
        subprocess.run(["fallocate", "--dig-holes", self.memory / "image"], check=True)
        with (self.memory / "filler").open("wb", buffering=0) as file:
            fill_up(file)

    @property
    def device(self) -> str:
        find = ["findmnt", "-n", "-o", "SOURCE", str(self.root)]
        return Path(subprocess.run(find, check=True, capture_output=True, text=True).stdout.strip()).name

    def write_single_pages(self) -> None:
        """Has each write of a page succeed or fail: a loop device passes half a write off as a whole one."""
        Path("/sys/block", self.device, "queue/max_sectors_kb").write_text("4")

    def turn_read_only(self) -> None:
        """Has ext4 find an error."""
        Path("/sys/fs/ext4", self.device, "trigger_fs_error").write_text("1")

    def mend(self) -> None:
        """Lets them succeed again."""
        (self.memory / "filler").unlink()


@contextmanager
def disk(tmp_path: Path, kind: str, *options: str) -> Iterator[Disk]:
    memory, root = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    root.mkdir()
    mounted: list[Path] = []

    def mount(*arguments: str | Path) -> None:
        if subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode:
            pytest.skip("a small file system cannot be mounted")
        mounted.append(Path(arguments[-1]))

    try:
        mount("-t", "tmpfs", "-o", f"size={MEMORY_BYTES}", "tmpfs", memory)
        image = memory / "image"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        subprocess.run([f"mkfs.{kind}", "-q", image], check=True)
        mount("-o", ",".join(["loop", *options]), image, root)
        failing = Disk(root, memory)
        failing.write_single_pages()
        yield failing
    finally:
        for place in reversed(mounted):
            subprocess.run(["umount", "--lazy", place], check=True)


def check_refusing(node: Node, c: Wire, *causes: str) -> None:
    """What a node does whose disk has failed. Whoever tries again may find another error than the one before."""
    texts = [f"MISCONF Errors writing to the log: {cause}" for cause in causes]
    refused = [Error(text) for text in texts]
    for request in (("SET", "key:0", "y"), ("DEL", "key:0"), ("EXPIRE", "key:0", 5), ("MSET", "a", 1, "no:2", 2)):
        assert c(*request) in refused
    aborted = [Error(f"EXECABORT Transaction discarded because of: {text}") for text in texts]
    assert c.pipeline([("MULTI",), ("SET", "no:3", "x"), ("SET", "key:0", "y"), ("EXEC",)])[-1] in aborted
    assert c("EXISTS", "no:3") == 0
    assert c("GET", "key:0") == VALUE.encode()
    assert c("SET", "no:1", "x") == OK
    assert c("INCR", "no:2") == 1
    assert c("DEL", "no:2") == 1

    words = tuple(cause.partition(" (")[0] for cause in causes)
    told = "refuses writes: its log cannot be written: "
    eventually(lambda: readyz(node).decode().partition(told)[2].startswith(words))
    assert info(c)["aof_last_write_status"] == "err"


@pytest.mark.parametrize("ack", ["fast", "sync"])
def test_a_sync_that_fails_once_is_not_taken_for_one_that_succeeds_later(tmp_path: Path, ack: str) -> None:
    options: dict[str, str | int] = {"ack": ack, "namespaces": NAMESPACES, "log_segment_size": "8mb"}
    with disk(tmp_path, "ext2") as failing:
        with serving(failing.root, shards=1, **options) as (node, c):
            assert c("SET", "key:0", VALUE) == OK
            failing.fail()
            # Some blocks have their place already.
            waiting = Wire(HOST, node.port)
            if ack == "fast":
                eventually(lambda: isinstance(c("SET", "key:1", VALUE), Error))
            else:
                # Replies wait for what is written anew when the disk works again.
                waiting.send("SET", "key:1", VALUE)
                eventually(lambda: b"refuses writes" in readyz(node))
            check_refusing(node, c, "Input/output error (os error 5)", "No space left on device (os error 28)")
            failing.mend()
            eventually(lambda: readyz(node) == b"ready\n")
            if ack == "sync":
                assert waiting.read() == OK
            waiting.close()
            assert c("SET", "key:2", VALUE) == OK
            node.kill()
        with serving(failing.root, shards=1, **options) as (_, c):
            assert c("MGET", "key:0", "key:1", "key:2") == [VALUE.encode()] * 3
            assert c("EXISTS", "no:1") == 0


def cause_of(c: Wire) -> str:
    """The error of the operating system that a node names."""
    reply = c("SET", "key:0", "z")
    assert isinstance(reply, Error)
    return reply.text.removeprefix("MISCONF Errors writing to the log: ")


def test_a_file_system_that_turns_read_only_is_named_and_reads_go_on(tmp_path: Path) -> None:
    with (
        disk(tmp_path, "ext4", "errors=remount-ro", "data_err=abort", "commit=1") as failing,
        serving(failing.root, shards=1, namespaces=NAMESPACES) as (node, c),
    ):
        assert c("SET", "key:0", VALUE) == OK
        assert c("WAITAOF", 1, 0, 0) == [1, 0]
        failing.turn_read_only()
        eventually(lambda: isinstance(c("SET", "key:1", VALUE), Error))
        eventually(lambda: is_read_only(failing.root))
        cause = "Read-only file system (os error 30)"
        eventually(lambda: cause_of(c) == cause)
        check_refusing(node, c, cause)


def is_read_only(root: Path) -> bool:
    try:
        (root / "probe").touch()
    except OSError as error:
        return error.errno == errno.EROFS
    return False
