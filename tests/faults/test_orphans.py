"""No process of a node outlives its supervisor, at whatever moment that dies."""

import os
import socket
import subprocess
import sys

WITHIN_S = 60


def test_a_child_whose_supervisor_died_before_it_began_ends_by_itself() -> None:
    # What it is to be may be waiting for it already, so it may not even look.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        gone = os.getpid() + 1
        arguments = [sys.executable, "-P", "-m", "yggdrasil.server.child", str(theirs.fileno()), str(gone)]
        child = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
        try:
            assert child.wait(WITHIN_S) == 0
        finally:
            child.kill()
            child.wait()
