"""A block device with a file system, whose power can be cut: then it has forgotten what was not synced."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

BYTES = 256 << 20
UNMOUNTED_WITHIN_S = 120.0


class NoDeviceError(Exception):
    """The machine has no such device, or does not let us make one."""


class Device:
    """A loop device on a file that forgets (`forgetful`), and ext4 on it."""

    def __init__(self, folder: Path) -> None:
        """Makes it in an empty folder; NoDeviceError says what is missing."""
        image, self.below, self.directory = folder / "image", folder / "below", folder / "disk"
        self.loop = ""
        for path in (self.below, self.directory):
            path.mkdir()
        with image.open("wb") as file:
            file.truncate(BYTES)
        if os.geteuid() or not Path("/dev/fuse").exists() or not Path("/dev/loop-control").exists():
            raise NoDeviceError("a block device of our own needs root, FUSE and loop devices")
        arguments = [sys.executable, "-m", "tests.durability.forgetful", str(self.below), str(image)]
        self.server = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self._expect_done()
            self._attach()
            run("mkfs.ext4", "-q", "-E", "nodiscard", self.loop)
            self._mount()
        except (OSError, subprocess.CalledProcessError) as error:
            self.close()
            raise NoDeviceError(f"a block device of our own cannot be made: {error}") from error

    def cut(self, seed: int) -> None:
        """Cuts the power: from now on nothing is read or written."""
        self._order(f"cut {seed}")

    def restore(self) -> None:
        """Brings the power back, and the file system as it was left. No file of it is open any more."""
        deadline = time.monotonic() + UNMOUNTED_WITHIN_S
        while subprocess.run(["umount", str(self.directory)], check=False, capture_output=True).returncode:
            # Who was killed has its files open until all of it has gone.
            if time.monotonic() > deadline:
                raise NoDeviceError(f"{self.directory} is still used by {users_of(self.directory)}")
            time.sleep(0.01)
        run("losetup", "--detach", self.loop)
        self._order("on")
        self._attach()
        self._mount()

    def close(self) -> None:
        """Removes it."""
        for command in (["umount", "-l", str(self.directory)], ["losetup", "--detach", self.loop]):
            subprocess.run(command, check=False, capture_output=True)
        with suppress(BrokenPipeError):
            self.server.communicate()
        subprocess.run(["umount", "-l", str(self.below)], check=False, capture_output=True)

    def _attach(self) -> None:
        self.loop = run("losetup", "--find", "--show", str(self.below / "disk")).strip()

    def _mount(self) -> None:
        run("mount", "-t", "ext4", self.loop, str(self.directory))

    def _order(self, order: str) -> None:
        assert self.server.stdin is not None
        self.server.stdin.write(f"{order}\n".encode())
        self.server.stdin.flush()
        self._expect_done()

    def _expect_done(self) -> None:
        assert self.server.stdout is not None
        if self.server.stdout.readline() != b"done\n":
            raise NoDeviceError("the server of the file has ended")


def users_of(directory: Path) -> list[str]:
    """The processes that have something open below a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            links = [process / "cwd", *(process / "fd").iterdir()]
            if any(str(link.readlink()).startswith(str(directory)) for link in links):
                found.append(f"{process.name} {(process / 'cmdline').read_bytes()!r}")
    return found


def run(*command: str) -> str:
    """What a command prints; an error with its message where it fails."""
    outcome = subprocess.run(command, check=False, capture_output=True, text=True)
    if outcome.returncode:
        raise OSError(f"{' '.join(command)}: {outcome.stderr.strip()}")
    return outcome.stdout
