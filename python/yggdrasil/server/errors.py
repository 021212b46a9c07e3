"""Errors of the server part; what configuration says of itself is `yggdrasil._core.ConfigError`."""

from yggdrasil._core import YggdrasilError


class StartError(YggdrasilError):
    """The node cannot start here: one line with what is wrong and what to change."""


class ConfigSetError(YggdrasilError):
    """A CONFIG SET that was refused; the text is the error reply, prefix and all."""


class SupervisorError(YggdrasilError):
    """The supervisor refused what a worker asked it for."""


class UsersChangeError(YggdrasilError):
    """A change of users that was refused; the text is the error reply, prefix and all."""


class UsersLateError(UsersChangeError):
    """A change of users that is made, but that a worker may not have made yet."""


class UsersLoadError(YggdrasilError):
    """Users of the configuration or of the ACL file that cannot be read: the text says what is wrong with them."""


class ErrandError(YggdrasilError):
    """The steward refused, or failed; the text is the error reply, prefix and all."""


class PortInUseError(StartError):
    """A port of this node is another's."""
