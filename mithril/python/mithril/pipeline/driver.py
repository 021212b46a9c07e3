"""The thread that drives a run: it asks the last stage for chunks, and gives memory to the oldest task."""

import threading
from collections import deque
from collections.abc import Sequence

from mithril.pipeline.budget import Budget
from mithril.pipeline.chunk import Chunk, Wait
from mithril.pipeline.events import Events
from mithril.pipeline.pressure import PressureHandler
from mithril.pipeline.regroup import Upstream
from mithril.pipeline.segment import Segment


class Driver:
    """The thread that asks the last stage for chunks, and keeps some ready."""

    def __init__(
        self,
        last: Upstream,
        segments: Sequence[Segment],
        budget: Budget,
        events: Events,
        prefetch: int,
        pressure: PressureHandler | None,
    ) -> None:
        self.budget = budget
        self.events = events
        self.segments = segments
        self.ready: deque[Chunk] = deque()
        self.error: BaseException | None = None
        self.ended = False
        self.asking = False
        """The caller waits, and holds nothing."""
        self.wanted = False
        """The caller is asked to hold less."""
        self.may_shrink = False
        """It can."""
        self._last = last
        self._prefetch = prefetch
        self._pressure = pressure
        self.thread = threading.Thread(target=self._drive, name="mithril-driver", daemon=True)

    def start(self) -> None:
        """Starts all threads."""
        for segment in self.segments:
            for thread in segment.threads:
                thread.start()
        self.thread.start()
        if self._pressure is not None:
            self._pressure.thread.start()

    def stop(self) -> None:
        """Stops all threads; those that run a function end with it."""
        if self._pressure is not None:
            self._pressure.stop()
        with self.events.condition:
            self.events.stopped = True
            self.events.condition.notify_all()

    def _drive(self) -> None:
        events = self.events
        try:
            while not events.stopped:
                with events.condition:
                    while len(self.ready) >= self._prefetch and not events.stopped:
                        events.unasked += 1
                        events.condition.wait()
                    seen = events.count
                found = self._last.pull()
                if found is None:
                    break
                if isinstance(found, Wait):
                    self._rest(seen)
                else:
                    self._hand_on(found)
                    del found
        except BaseException as error:  # noqa: BLE001 (raised where the caller waits)
            self.error = error
        with events.condition:
            self.ended = True
            events.condition.notify_all()

    def _hand_on(self, chunk: Chunk) -> None:
        with self.events.condition:
            self.ready.append(chunk)
            if self.asking:
                self.events.condition.notify_all()

    def _rest(self, seen: int) -> None:
        """Waits for something to happen. Where nothing can, memory is short: the oldest task gets it."""
        events = self.events
        with events.condition:
            while events.count == seen and not events.stopped:
                if not events.running and self.asking and not self.ready:
                    break
                events.condition.wait()
            else:
                return
        self._relieve()

    def _relieve(self) -> None:
        for chosen in reversed(self.segments):
            if chosen.starved:
                while not chosen.start_oldest():
                    if not any(segment.revoke(segment is chosen) for segment in self.segments):
                        if not self._ask_to_shrink():
                            chosen.start_alone()
                        return
                return

    def _ask_to_shrink(self) -> bool:
        """Asks the caller to hold less, if it can; its answer counts as an event."""
        with self.events.condition:
            if not self.may_shrink:
                return False
            self.wanted, self.may_shrink, self.asking = True, False, False
            self.events.condition.notify_all()
            return True
