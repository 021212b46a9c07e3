"""Signals between the threads of a run."""

import threading


class Events:
    """The word that something has changed, and the condition under which threads wait for it."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.count = 0
        self.running = 0
        self.unasked = 0
        """How often enough was ready, and nobody asked for more."""
        self.stopped = False

    def tell(self) -> None:
        """Wakes those who wait."""
        with self.condition:
            self.count += 1
            self.condition.notify_all()
