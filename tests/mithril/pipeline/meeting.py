"""Calls that wait for each other a little."""

import threading


class Meeting:
    """A place where two calls meet, if they run at the same time."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)

    def met(self) -> bool:
        """True if another call came meanwhile."""
        try:
            self._barrier.wait(0.05)
        except threading.BrokenBarrierError:
            self._barrier.reset()
            return False
        return True
