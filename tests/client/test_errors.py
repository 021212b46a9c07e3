"""What an error tells, also in another process."""

import pickle

import pytest

from yggdrasil import YggdrasilError
from yggdrasil.client import (
    BufferTooSmallError,
    ChecksumError,
    MissingKeyError,
    NearError,
    NearRefusedError,
    NearUnavailableError,
    StaleValueError,
)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            BufferTooSmallError("k", 5, 3),
            "the value of 'k' has 5 bytes, the buffer 3; give a writable buffer of at least 5",
        ),
        (ChecksumError(b"k", "the upload has another"), "the value of b'k' was not stored: the upload has another"),
        (MissingKeyError("k"), "there is no key 'k'"),
        (StaleValueError("k", 7, 1000), "the value of 'k' has changed after 1000 bytes of version 7 were read"),
        (NearError("why"), "why"),
        (NearRefusedError("why"), "why"),
        (NearUnavailableError("why"), "why"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_reach_other_processes(error: YggdrasilError, text: str) -> None:
    received = pickle.loads(pickle.dumps(error))
    assert type(received) is type(error)
    assert str(error).startswith(text)
    assert (str(received), received.__dict__) == (str(error), error.__dict__)
