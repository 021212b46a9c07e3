"""Entry point of every process but the supervisor: a spare that waits to be told what it is.

All imports are done before that, so that the successor of a dead worker is at work at once.
"""

import ctypes
import os
import signal
import socket
import sys

import uvloop

from yggdrasil.server import log, steward, worker
from yggdrasil.server.config import Config
from yggdrasil.server.messages import StewardDuty, WorkerDuty, receive_assignment
from yggdrasil.server.process_title import name_process

_PR_SET_PDEATHSIG = 1


def main() -> int:
    """Runs until the supervisor says otherwise or goes away."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        # The supervisor has died before that. A child without it would go on writing to a log that has a new owner.
        return 0
    name_process("spare")
    # The supervisor alone decides when a child ends. It blocked these signals until they could be ignored.
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())

    connection = socket.socket(fileno=int(sys.argv[1]))
    received = receive_assignment(connection)
    if received is None:
        return 0
    assignment, descriptors = received
    name_process(assignment.name, assignment.node)
    config = Config(**assignment.config)
    log.configure(config.log.loglevel, assignment.log_format, assignment.name)
    match assignment.duty:
        case WorkerDuty() as duty:
            return uvloop.run(worker.run(assignment, duty, config, descriptors, connection))
        case StewardDuty() as duty:
            return uvloop.run(steward.run(assignment, duty, config, descriptors, connection))


if __name__ == "__main__":
    sys.exit(main())
