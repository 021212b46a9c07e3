"""What can go wrong beyond the errors of redis-py (`redis.exceptions`), which the clients raise as it does."""

from yggdrasil._core import YggdrasilError

__all__ = ["BufferTooSmallError", "ChecksumError", "MissingKeyError", "StaleValueError"]


class BufferTooSmallError(YggdrasilError):
    """The value does not fit; the buffer is unchanged and the connection stays usable."""

    def __init__(self, key: object, needed: int, given: int) -> None:
        super().__init__(
            f"the value of {key!r} has {needed} bytes, the buffer {given}; "
            f"give a writable buffer of at least {needed} bytes"
        )
        self.needed = needed
        """Bytes of the value."""
        self.given = given
        """Bytes of the buffer."""


class ChecksumError(YggdrasilError):
    """What arrived at the node has another hash than was given; the key is as it was."""

    def __init__(self, key: object, found: str) -> None:
        super().__init__(f"the value of {key!r} was not stored: {found}")
        self.key = key


class MissingKeyError(YggdrasilError, LookupError):
    """There is no such key."""

    def __init__(self, key: object) -> None:
        super().__init__(f"there is no key {key!r}")
        self.key = key


class StaleValueError(YggdrasilError):
    """The value has changed, or is gone, since its first part was read; start again for the new one."""

    def __init__(self, key: object, version: int, offset: int) -> None:
        super().__init__(f"the value of {key!r} has changed after {offset} bytes of version {version} were read")
        self.key = key
        self.version = version
        """The version that was read."""
        self.offset = offset
        """Bytes of it that were read."""
