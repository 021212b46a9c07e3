"""What commands do with their keys, under the names that COMMAND INFO has for it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yggdrasil._core import _CommandRow

Uses = tuple[str, ...]

_READ: Uses = ("RO", "access")
_LOOK: Uses = ("RO",)
_CHANGE: Uses = ("RW", "access", "update")
_TOUCH_UP: Uses = ("RW", "update")
_OVERWRITE: Uses = ("OW", "update")
_CREATE: Uses = ("OW", "insert")
_REMOVE: Uses = ("RM", "delete")
_MOVE_AWAY: Uses = ("RW", "access", "delete")
_VARIABLE = "variable_flags"
_NO_KEY: Uses = ("not_key",)

# Commands that do something else than read (readonly) or change (write); several where each key has its own use.
_SPECIAL: dict[str, tuple[Uses, ...]] = {
    **dict.fromkeys(("exists", "type", "touch", "strlen", "memory|usage", "watch"), (_LOOK,)),
    **dict.fromkeys(("object|encoding", "object|freq", "object|idletime", "object|refcount"), (_LOOK,)),
    **dict.fromkeys(("expire", "pexpire", "expireat", "pexpireat", "persist", "setrange"), (_TOUCH_UP,)),
    **dict.fromkeys(("mset", "setex", "psetex", "restore"), (_OVERWRITE,)),
    **dict.fromkeys(("msetnx", "setnx"), (_CREATE,)),
    **dict.fromkeys(("del", "unlink"), (_REMOVE,)),
    "append": (("RW", "insert"),),
    "getdel": (_MOVE_AWAY,),
    "set": ((*_CHANGE, _VARIABLE),),
    "rename": (_MOVE_AWAY, _OVERWRITE),
    "renamenx": (_MOVE_AWAY, _CREATE),
    "copy": (_READ, _OVERWRITE),
}


@dataclass(frozen=True, slots=True)
class KeySpecification:
    """Keys among the arguments, and their use. `last` counts from `first`, or from the end where it is negative.

    With a `word`, they stand behind it, which is sought from `first` on; with a `limit` of 2, half of what is there is
    keys. Where they are `counted`, their number stands at `first`.
    """

    flags: Uses
    first: int
    last: int
    step: int
    word: str | None = None
    limit: int = 0
    counted: bool = False


def key_specifications(row: "_CommandRow") -> list[KeySpecification]:
    """Of a row of the command table; none for a command without keys."""
    first, last, step = row["first_key"], row["last_key"], row["step"]
    if row["moving_keys"]:
        return _moving(row, *row["moving_keys"])
    if not first:
        return []
    uses = _SPECIAL.get(row["name"], (_use(row["flags"]),))
    if len(uses) > 1:
        return [KeySpecification(use, first + place, 0, 1) for place, use in enumerate(uses)]
    return [KeySpecification(uses[0], first, last if last < 0 else last - first, step)]


def _moving(row: "_CommandRow", at: int, word: str | None, counted: bool) -> list[KeySpecification]:
    """Keys whose places depend on the request; a destination among them is overwritten, and the others are read."""
    destination = row["first_key"]
    uses = _READ if destination else _use(row["flags"])
    moving = KeySpecification(uses, at, -1, 1, word, 0 if counted else 2, counted)
    return [KeySpecification(_OVERWRITE, destination, 0, 1), moving] if destination else [moving]


def _use(flags: list[str]) -> Uses:
    if "pubsub" in flags:
        return _NO_KEY
    return _READ if "readonly" in flags else _CHANGE


def uses_in(found: KeySpecification, args: list[bytes]) -> Uses:
    """The use in one request: SET reads the old value only where it is asked to give it back."""
    if _VARIABLE not in found.flags:
        return found.flags
    return _CHANGE if b"GET" in {argument.upper() for argument in args[3:]} else _OVERWRITE
