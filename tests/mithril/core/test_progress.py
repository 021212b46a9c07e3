"""Progress is silent for a second, then a bar on a terminal, lines in a log, or a callback."""

import io
import logging

import pytest

from mithril.core.progress import Progress, Step


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_takes_less_than_a_second_shows_nothing() -> None:
    clock, terminal = Clock(), Terminal()
    with Progress("save", 100, stream=terminal, clock=clock) as progress:
        clock.now = 0.9
        progress.add(100)
    assert terminal.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    clock, terminal = Clock(), Terminal()
    with Progress("save", 4_000_000, stream=terminal, clock=clock) as progress:
        clock.now = 2.0
        progress.add(1_000_000)
        progress.add(1_000_000)
    _, first, last = terminal.getvalue().removesuffix("\n").split("\r\x1b[K")
    assert first == f"[{'#' * 7:<30}] save  25% 1.0 MB, 0.5 MB/s, 2.0 s, 6 s left"
    assert last == f"[{'#' * 15:<30}] save  50% 2.0 MB, 1.0 MB/s, 2.0 s"
    assert terminal.getvalue().endswith("\n")


def test_a_log_gets_lines_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with caplog.at_level(logging.INFO, "mithril"), Progress("save", stream=io.StringIO(), clock=clock) as progress:
        for second in range(1, 25):
            clock.now = float(second)
            progress.add(1_000_000)
    assert [record.message for record in caplog.records] == [
        "save 1.0 MB, 1.0 MB/s, 1.0 s",
        "save 11.0 MB, 1.0 MB/s, 11.0 s",
        "save 21.0 MB, 1.0 MB/s, 21.0 s",
        "save 24.0 MB, 1.0 MB/s, 24.0 s",
    ]


def test_a_callback_gets_steps_and_the_end() -> None:
    clock = Clock()
    steps: list[Step] = []
    with Progress("load", 10, callback=steps.append, clock=clock) as progress:
        clock.now = 1.0
        progress.add(5)
        clock.now = 1.5
        progress.add(5)
    assert [(step.done, step.finished) for step in steps] == [(5, False), (10, False), (10, True)]


def test_what_was_done_before_is_not_in_the_rate() -> None:
    clock = Clock()
    steps: list[Step] = []
    with Progress("read", callback=steps.append, clock=clock) as progress:
        progress.begin(0.5)
        clock.now = 10.0
        progress.add(1, 0.6)
    assert steps[0].seconds_left == pytest.approx(40)
