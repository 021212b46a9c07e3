"""Artifacts come back whole, under their own key, signed where keys are set; anything else is an error."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithril.cache.artifact import Artifact, unseal
from mithril.cache.keys import CacheKey
from mithril.cache.signing import Ed25519Signer, Ed25519Verifier, UntrustedError, generate
from mithril.core.errors import ConfigError, DamagedError

KEY = CacheKey("torch", "graph", "f00d")
MADE = Artifact(KEY, {"a": b"x" * 1000, "b": b""}, 1.5, 100.0, "host", {"torch": {"n": 1}})
STORED = MADE.encode(3)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A private and a public key."""
    generate(tmp_path / "private.pem", tmp_path / "public.pem")
    return tmp_path / "private.pem", tmp_path / "public.pem"


def test_an_artifact_comes_back() -> None:
    assert unseal(STORED, key=KEY).open(10_000) == MADE


def test_an_artifact_of_another_key_is_refused() -> None:
    with pytest.raises(DamagedError, match="another key"):
        unseal(STORED, key=CacheKey("torch", "graph", "beef"))


@given(st.integers(0, len(STORED) - 1), st.integers(1, 255))
def test_a_changed_artifact_is_an_error(at: int, change: int) -> None:
    changed = bytearray(STORED)
    changed[at] ^= change
    if 4 <= at < 8:
        return
    with pytest.raises(DamagedError):
        unseal(bytes(changed)).open(10_000)


@given(st.integers(0, len(STORED) - 1))
def test_a_cut_artifact_is_an_error(size: int) -> None:
    with pytest.raises(DamagedError):
        unseal(STORED[:size])


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error(data: bytes) -> None:
    with pytest.raises(DamagedError):
        unseal(b"MTA1" + data)


def test_what_is_larger_than_allowed_is_not_decompressed() -> None:
    with pytest.raises(DamagedError, match="at most 999"):
        unseal(STORED).open(999)


def test_a_signed_artifact_is_trusted_by_who_has_the_public_key(pair: tuple[Path, Path]) -> None:
    signed = MADE.encode(3, Ed25519Signer(pair[0]))
    assert unseal(signed, Ed25519Verifier(pair[1])).open(10_000) == MADE
    assert unseal(signed).open(10_000) == MADE
    assert pair[0].stat().st_mode & 0o077 == 0


def test_what_no_trusted_key_signed_is_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    verifier = Ed25519Verifier(pair[1])
    with pytest.raises(UntrustedError, match="not signed"):
        unseal(STORED, verifier)
    generate(tmp_path / "other", tmp_path / "other.pub")
    with pytest.raises(UntrustedError, match="not trusted here"):
        unseal(MADE.encode(3, Ed25519Signer(tmp_path / "other")), verifier)
    signed = bytearray(MADE.encode(3, Ed25519Signer(pair[0])))
    signed[-1] ^= 1
    with pytest.raises(UntrustedError, match="changed"):
        unseal(bytes(signed), verifier)


def test_a_file_without_a_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ConfigError, match="no public key"):
        Ed25519Verifier(tmp_path / "empty")
    with pytest.raises(ConfigError, match="not a private key"):
        Ed25519Signer(tmp_path / "empty")
    with pytest.raises(ConfigError, match="exists already"):
        generate(tmp_path / "empty", tmp_path / "new")
