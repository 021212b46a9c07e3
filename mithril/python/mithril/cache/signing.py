"""Signatures of artifacts: Ed25519 keys in PEM files."""

import re
from pathlib import Path
from typing import Any

from mithril.core.errors import ConfigError, MissingExtraError, MithrilError

_KEY_BYTES = 32
_PEM = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


class UntrustedError(MithrilError):
    """An artifact without a signature by a trusted key."""


class Ed25519Signer:
    """A private key, which signs."""

    def __init__(self, file: Path) -> None:
        serialization, ed25519 = _library()
        try:
            key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(f"{file}: not a private key that can be read: {error}") from None
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise ConfigError(f"{file}: the key is not an Ed25519 key; make one with mithril cache keygen")
        self._key: Any = key
        self.public_bytes: bytes = key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The public key and the signature."""
        signature: bytes = self._key.sign(message)
        return self.public_bytes + signature


class Ed25519Verifier:
    """A set of trusted public keys."""

    def __init__(self, file: Path) -> None:
        serialization, ed25519 = _library()
        self._keys: dict[bytes, Any] = {}
        try:
            for block in _PEM.findall(file.read_bytes()):
                key = serialization.load_pem_public_key(block)
                if not isinstance(key, ed25519.Ed25519PublicKey):
                    raise ConfigError(f"{file}: a key in it is not an Ed25519 key")
                self._keys[key.public_bytes_raw()] = key
        except (OSError, ValueError) as error:
            raise ConfigError(f"{file}: {error}") from None
        if not self._keys:
            raise ConfigError(f"{file}: there is no public key in it; without one no artifact could be used")

    def verify(self, message: bytes, block: bytes) -> None:
        """Raises UntrustedError unless a trusted key has signed the message."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

        if not block:
            raise UntrustedError("the artifact is not signed, and only signed ones are used here")
        key = self._keys.get(block[:_KEY_BYTES])
        if key is None:
            raise UntrustedError(f"the artifact is signed by {block[:_KEY_BYTES].hex()}, which is not trusted here")
        try:
            key.verify(block[_KEY_BYTES:], message)
        except InvalidSignature:
            raise UntrustedError("the artifact's signature is wrong: it was changed after it was signed") from None


def generate(private_file: Path, public_file: Path) -> None:
    """Writes a new key pair; the private file is readable by its owner alone, and neither may exist."""
    serialization, ed25519 = _library()
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        private_file.touch(mode=0o600, exist_ok=False)
        with public_file.open("xb") as file:
            file.write(public)
    except FileExistsError as error:
        raise ConfigError(f"{error.filename}: the file exists already; choose another name") from None
    private_file.write_bytes(private)


def _library() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("signing", "cryptography", "signing") from None
    return serialization, ed25519
