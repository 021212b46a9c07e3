"""What belongs to the node, not to a key: functions, namespaces and users."""

import random
from typing import Any

from tests.durability.crash.collections import Request
from tests.durability.crash.streams import fields
from tests.durability.crash.subjects import Step, Subject
from tests.wire import Error

CODE = """#!lua name={name}
redis.register_function('{name}', function() return {version} end)
"""


class Settings(Subject):
    """A function, a namespace and a user of one client; the state has the version of each, None where it has gone.

    The version of a namespace is what it promises.
    """

    empty = (None, None, None)
    is_in_database = False
    answers = ("ERR Function not found",)

    def __init__(self, number: int) -> None:
        super().__init__([f"own{number}", f"own{number}:", f"user{number}"])

    def choose(self, draw: random.Random, version: int) -> Step:
        """Makes, changes or removes one of them."""
        (function, promise, user), (name, prefix, who) = self.state, self.keys
        is_removed = draw.randrange(4) == 0
        match draw.randrange(3):
            case 0 if is_removed and function is not None:
                return Step([("FUNCTION", "DELETE", name)], (None, promise, user))
            case 0:
                code = CODE.format(name=name, version=version)
                return Step([("FUNCTION", "LOAD", "REPLACE", code)], (version, promise, user))
            case 1 if is_removed and promise is not None:
                return Step([("NAMESPACE", "SET", prefix, "DEFAULT")], (function, None, user))
            case 1:
                promise = draw.choice([b"fast", b"sync"])
                return Step([("NAMESPACE", "SET", prefix, promise)], (function, promise, user))
            case _ if is_removed and user is not None:
                return Step([("ACL", "DELUSER", who), ("ACL", "SAVE")], (function, promise, None))
        rules = ("reset", "on", f">{version}", f"~{version}:*", "+get")
        return Step([("ACL", "SETUSER", who, *rules), ("ACL", "SAVE")], (function, promise, version))

    def questions(self) -> list[Request]:
        """Users are saved before: one that is seen has to stay."""
        name, prefix, who = self.keys
        return [("ACL", "SAVE"), ("FCALL", name, 0), ("NAMESPACE", "GET", prefix), ("ACL", "GETUSER", who)]

    def told(self, replies: list[Any]) -> tuple[Any, ...]:
        """The function returns its version, and the user may read keys that begin with it."""
        _, version, row, user = replies
        namespace = fields(row)
        promise = namespace[b"ack"] if namespace[b"prefix"] == self.keys[1].encode() else None
        seen = None if user is None else int(fields(user)[b"keys"].strip(b"~:*"))
        return (None if isinstance(version, Error) else version, promise, seen)
