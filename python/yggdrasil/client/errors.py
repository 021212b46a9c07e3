"""What can go wrong beyond the errors of redis-py (`redis.exceptions`), which the clients raise as it does.

Their arguments are kept as they were given, so that an error can be pickled and reach another process.
"""

from yggdrasil._core import YggdrasilError

__all__ = ["BufferTooSmallError", "ChecksumError", "MissingKeyError", "StaleValueError"]


class BufferTooSmallError(YggdrasilError):
    """The value does not fit; the buffer is unchanged and the connection stays usable."""

    def __init__(self, key: object, needed: int, given: int) -> None:
        super().__init__(key, needed, given)
        self.key = key
        self.needed = needed
        """Bytes of the value."""
        self.given = given
        """Bytes of the buffer."""

    def __str__(self) -> str:
        return (
            f"the value of {self.key!r} has {self.needed} bytes, the buffer {self.given}; "
            f"give a writable buffer of at least {self.needed} bytes"
        )


class ChecksumError(YggdrasilError):
    """What arrived at the node has another hash than was given; the key is as it was."""

    def __init__(self, key: object, found: str) -> None:
        super().__init__(key, found)
        self.key = key
        self.found = found
        """What the node says of the hash."""

    def __str__(self) -> str:
        return f"the value of {self.key!r} was not stored: {self.found}"


class MissingKeyError(YggdrasilError, LookupError):
    """There is no such key."""

    def __init__(self, key: object) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"there is no key {self.key!r}"


class StaleValueError(YggdrasilError):
    """The value has changed, or is gone, since its first part was read; start again for the new one."""

    def __init__(self, key: object, version: int, offset: int) -> None:
        super().__init__(key, version, offset)
        self.key = key
        self.version = version
        """The version that was read."""
        self.offset = offset
        """Bytes of it that were read."""

    def __str__(self) -> str:
        return f"the value of {self.key!r} has changed after {self.offset} bytes of version {self.version} were read"
