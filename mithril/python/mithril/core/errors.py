"""Errors: one root, and a type for each thing that a caller may want to handle."""


class MithrilError(Exception):
    """The root of all errors of Mithril. The message says what is wrong, where, and what to do."""


class ConfigError(MithrilError):
    """A configuration value that cannot be used."""


class MissingExtraError(MithrilError):
    """A package that is needed for this use and is not installed."""

    def __init__(self, use: str, package: str, extra: str) -> None:
        super().__init__(f"{use} needs the package {package}: pip install 'mithril[{extra}]'")


class StoreError(MithrilError):
    """A failure of a store; `url` is the object's."""

    def __init__(self, message: str, url: str) -> None:
        super().__init__(f"{url}: {message}")
        self.url = url


class NotFoundError(StoreError):
    """An object that does not exist."""


class ExistsError(StoreError):
    """An object that exists, where the write asked for its absence."""


class ChangedError(StoreError):
    """An object of another version than the one that was expected."""


class AccessError(StoreError):
    """A store that refuses the credentials or the permission."""


class FullError(StoreError):
    """A store without room for the object."""


class UnavailableError(StoreError):
    """A store that cannot be reached, or does not answer in time."""


class UnsupportedError(StoreError):
    """A request that this kind of store cannot carry out."""


class KeyNameError(StoreError):
    """An object name that is not allowed."""


class InputError(MithrilError):
    """An input that is not what its name or the settings say."""


class DamagedError(MithrilError):
    """Bytes that are not what was written."""


class CodecError(MithrilError):
    """A frame of an unknown codec or version, or one that its codec cannot decode."""
