"""Worker processes: results, order, errors, deaths, and what is left when the parent is killed."""

import gc
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.wire import eventually

from mithril.pipeline import Pipeline, PipelineError, TransformError
from mithril.pipeline.shared_memory import Mailbox, pair


def test_functions_run_in_other_processes_and_results_come_in_order() -> None:
    offset = 7
    found = list(
        Pipeline(range(500))
        .map(lambda number: (number + offset, os.getpid()), processes=True, workers=2)
        .filter(lambda pair: pair[0] % 2 == 0)
        .flat_map(lambda pair: [pair] * 2, processes=True, workers=1)
    )
    assert [number for number, _ in found] == [number for number in range(offset, 507) if number % 2 == 0 for _ in "ab"]
    assert os.getpid() not in {process for _, process in found}


def test_arrays_come_back_whole_while_others_are_held() -> None:
    def make(number: int) -> dict[str, Any]:
        return {"a": np.full(50_000, number), "b": [np.arange(number % 7)], "c": "x" * (number % 100)}

    run = Pipeline(range(300)).map(make, processes=True, workers=2)
    held = list(run)
    gc.collect()
    for number, found in enumerate(held):
        assert (found["a"] == number).all()
        assert found["b"][0].tolist() == list(range(number % 7))
        assert found["c"] == "x" * (number % 100)


def test_the_budget_holds_with_processes() -> None:
    limit = 20_000_000
    pipeline = Pipeline(range(100), memory_bytes=limit).map(lambda _: np.zeros(1_500_000, np.uint8), processes=True)
    pipeline = pipeline.batch(4)
    assert sum(int(array.nbytes) for array in pipeline) == 150_000_000
    assert pipeline.statistics().memory_peak_bytes <= limit


def test_an_error_names_its_sample_and_has_its_trace() -> None:
    def reciprocal(number: int) -> float:
        return 1 / (number - 3)

    with pytest.raises(TransformError, match="number 3, sample 0: reciprocal raised ZeroDivisionError") as caught:
        list(Pipeline(list(range(10))).map(reciprocal, processes=True, workers=1))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "in reciprocal" in "".join(caught.value.__cause__.__notes__)
    skipped = Pipeline(list(range(10))).map(reciprocal, processes=True, workers=1, on_error="skip")
    assert len(list(skipped)) == 9
    assert skipped.statistics().skipped == 1


def test_an_error_that_cannot_be_pickled_is_told_all_the_same() -> None:
    class OddError(Exception):
        def __init__(self) -> None:
            super().__init__("odd")
            self.handle = sys.stdin

    def fail(_: int) -> None:
        raise OddError

    with pytest.raises(TransformError, match="fail raised RuntimeError: OddError: odd"):
        list(Pipeline(range(3)).map(fail, processes=True, workers=1))


def test_a_process_that_dies_is_replaced_and_its_samples_are_done_again(tmp_path: Path) -> None:
    def die_once(number: int) -> int:
        marker = tmp_path / "died"
        if number == 137 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    assert list(Pipeline(range(300)).map(die_once, processes=True, workers=2)) == list(range(300))
    assert (tmp_path / "died").exists()


def test_samples_that_kill_every_process_are_an_error() -> None:
    def die(number: int) -> int:
        if number == 5:
            os._exit(3)
        return number

    with pytest.raises(TransformError, match="ended with status 3, 3 times"):
        list(Pipeline(list(range(10))).map(die, processes=True, workers=1))


def test_what_cannot_be_sent_is_said() -> None:
    lock = threading.Lock()
    with pytest.raises(PipelineError, match="cannot be sent to a process"):
        list(Pipeline(range(3)).map(lambda _: lock, processes=True))
    with pytest.raises(PipelineError, match="a sample cannot be sent"):
        list(Pipeline([(number for number in range(2))]).map(list, processes=True))


def test_a_result_that_cannot_be_sent_is_named() -> None:
    def open_some(number: int) -> Any:
        return Path(os.devnull).open("rb") if number == 5 else number

    with pytest.raises(
        TransformError, match="number 5, sample 0: open_some raised TypeError: a result of type"
    ) as raised:
        list(Pipeline(list(range(10))).map(open_some, processes=True, workers=1))
    assert "use threads" in str(raised.value)


def test_a_process_that_exits_or_is_killed_says_how() -> None:
    with pytest.raises(TransformError, match="its process ended with status 4, 3 times"):
        list(Pipeline([0]).map(lambda _: sys.exit(4), processes=True, workers=1))
    with pytest.raises(TransformError, match="its process was killed by SIGKILL, 3 times"):
        list(Pipeline([0]).map(lambda _: os.kill(os.getpid(), signal.SIGKILL), processes=True, workers=1))


SCRIPT = """
from dataclasses import dataclass
import numpy as np
from mithril.pipeline import Pipeline, TransformError

@dataclass
class Document:
    text: str
    tokens: object

class TooLongError(Exception):
    pass

def read(text):
    return Document(text, np.arange(100_000))

def longer(document):
    if len(document.text) > 2:
        raise TooLongError(document.text)
    return Document(document.text * 2, document.tokens)

def run(texts):
    return list(Pipeline(texts).map(read).map(longer, processes=True, workers=1))

found = run(["a", "bc"])
assert [(type(document), document.text) for document in found] == [(Document, "aa"), (Document, "bcbc")]
assert all((document.tokens == np.arange(100_000)).all() for document in found)
try:
    run(["def"])
except TransformError as error:
    assert type(error.__cause__) is TooLongError, repr(error.__cause__)
    assert "longer raised TooLongError: def" in str(error)
    print("done")
"""


def test_classes_of_a_script_go_to_processes_and_back(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    ran = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("done\n", "")


def test_segments_are_used_again_and_given_back() -> None:
    ours, theirs = pair()
    left, right = Mailbox(ours), Mailbox(theirs)
    try:
        for number in range(20):
            left.send(np.full(100_000, number))
            found = right.receive()
            assert (found == number).all()
            del found
            right.send(None)
            left.receive()
        # One is on its way while the word that the one before is free comes back.
        assert len(left._outbox.maps) <= 2
        for _ in range(3):
            left.send(np.zeros(20_000_000))
            right.receive()
            right.send(None)
            left.receive()
        left.send(0)
        assert sum(map(len, left._outbox.maps.values())) < 400_000_000
    finally:
        left.close()
        right.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        right.receive()


def test_what_goes_back_is_not_copied_and_kept_until_nobody_looks() -> None:
    ours, theirs = pair()
    left, right = Mailbox(ours), Mailbox(theirs)
    with ours, theirs:
        left.send({"a": np.arange(100_000), "small": np.arange(10)})
        found = right.receive()
        right.send([found["a"][5:], found["a"][:50_000], found["small"], np.ones(100_000)])
        part, other, small, new = left.receive()
        segment = np.frombuffer(next(iter(left._outbox.maps.values())), np.uint8)
        assert np.shares_memory(part, segment)
        assert np.shares_memory(other, part)
        assert not np.shares_memory(small, segment)
        assert not np.shares_memory(new, segment)
        del found, other, new, small
        for number in range(3):
            # The other end looks at the segment no longer, this one does.
            left.send(np.full(100_000, number))
            right.receive()
            right.send(None)
            left.receive()
        assert part[0] == 5
        assert (part == np.arange(5, 100_000)).all()
        count = len(left._outbox.maps)
        del part, segment
        for number in range(6):
            left.send(np.full(100_000, number))
            right.receive()
            right.send(None)
            left.receive()
        assert len(left._outbox.maps) == count


def test_messages_keep_their_contents_whatever_is_held() -> None:
    seed = random.randrange(1 << 32)
    chance = random.Random(seed)
    ours, theirs = pair()
    ends = [Mailbox(ours), Mailbox(theirs)]
    held: list[list[tuple[int, Any]]] = [[], []]
    with ours, theirs:
        for number in range(400):
            sender, receiver = number % 2, 1 - number % 2
            message = [(number, np.full(chance.randrange(1, 40_000), number))] if chance.random() < 0.7 else []
            message += chance.sample(held[sender], min(len(held[sender]), chance.randrange(3)))
            ends[sender].send(message)
            held[receiver] += ends[receiver].receive()
            chance.shuffle(held[receiver])
            del held[receiver][chance.randrange(1, 8) :]
            for values in held:
                assert all((array == value).all() for value, array in values), f"seed {seed}, message {number}"
        for end in ends:
            assert len(end._outbox.maps) < 60, f"seed {seed}"


PARENT = """
import os, sys, time
from mithril.pipeline import Pipeline
def busy(number):
    import pathlib
    pathlib.Path(FOLDER, str(os.getpid())).touch()
    while True:
        pass
FOLDER = sys.argv[1]
for _ in Pipeline(range(64)).map(busy, processes=True, workers=2):
    pass
"""


def _lives(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_nothing_is_left_of_a_parent_that_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)])
    eventually(lambda: len(list(tmp_path.iterdir())) == 2)
    parent.kill()
    parent.wait()
    children = [int(path.name) for path in tmp_path.iterdir()]
    eventually(lambda: not any(map(_lives, children)))
