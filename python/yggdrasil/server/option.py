"""What one configuration option is: how it is written, read, printed and described."""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.fields import FieldInfo

from yggdrasil._core import PIN_PREFIXES_MAX

ENVIRONMENT_PREFIX = "YGGDRASIL_"
"""Begins the name of an option in the environment."""

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
INTEGER_MAX = 2**63 - 1
PORT_MAX = 65535

# As Redis: `k` counts by the thousand, `kb` by 1024.
SIZE_UNITS = {
    "": 1,
    "b": 1,
    "k": 1000,
    "kb": KIB,
    "m": 1000**2,
    "mb": MIB,
    "g": 1000**3,
    "gb": GIB,
}
_EVENT_CLASSES = "g$lshzxetd"
_EVENT_LETTERS = "nKEm"
_SIZE = re.compile(r"(\d+)([a-z]*)", re.ASCII)
_SWITCH = {"yes": True, "no": False, "true": True, "false": False}

LimitClass = Literal["normal", "slave", "pubsub"]
_LIMITS_DEFAULT: dict[LimitClass, tuple[int, int, int]] = {
    "normal": (0, 0, 0),
    "slave": (256 * MIB, 64 * MIB, 60),
    "pubsub": (32 * MIB, 8 * MIB, 60),
}
_LIMIT_CLASSES: dict[str, LimitClass] = {
    "normal": "normal",
    "slave": "slave",
    "replica": "slave",
    "pubsub": "pubsub",
}


class Kind(Enum):
    """How the value of an option is written."""

    WHOLE = "number"
    SIZE = "size"
    SWITCH = "switch"
    OCTAL = "permissions"
    CHOICE = "choice"
    TEXT = "text"
    SHARE = "share"
    SHARES = "shares"
    OUTPUT_LIMITS = "limits"
    PERCENTILES = "percentiles"
    EVENT_LETTERS = "letters"
    NEAR_USERS = "near users"
    USER_LINES = "user lines"
    TLS_PROTOCOLS = "versions of TLS"
    NAMESPACES = "namespaces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What a field of a section says of itself beside its type, range and default."""

    help: str
    unit: str = ""
    redis: bool = False
    """Redis has an option of this name that means the same."""
    runtime: bool = False
    """CONFIG SET may change it; everything else needs a restart."""
    engine: bool = False
    """The engine reads it."""
    secret: bool = False
    file_only: bool = False
    """CONFIG neither shows nor sets it."""
    default_text: str = ""
    """Said instead of a default that depends on the machine."""
    allowed: str = ""
    """Said of values where the range or choices do not say it all."""


def parse_size(value: object) -> int:
    """Reads a size as Redis does: 100, 100mb, 2gb."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    else:
        match = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
        if match is None or match[2] not in SIZE_UNITS:
            raise ValueError("not a size")
        size = int(match[1]) * SIZE_UNITS[match[2]]
    if size > INTEGER_MAX:
        raise ValueError("more bytes than 64 bits can count")
    return size


def parse_whole(value: object) -> int:
    """Reads a whole number; what TOML calls a float or a boolean is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"-?\d+", value.strip(), re.ASCII):
        return int(value)
    raise ValueError("not a whole number")


def parse_switch(value: object) -> bool:
    """Reads yes, no, true or false."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _SWITCH:
        return _SWITCH[value.strip().lower()]
    raise ValueError("neither yes nor no")


def parse_octal(value: object) -> str:
    """Reads permissions: octal digits, whether TOML has them as text or as a number."""
    text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-7]{1,4}", text):
        raise ValueError("not octal permissions")
    return f"{int(text, 8):o}"


def parse_choice(value: object) -> object:
    """Choices are the same in upper and lower case; TOML's booleans stand for yes and no."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.strip().lower() if isinstance(value, str) else value


def _parse_seconds(text: str) -> int:
    seconds = parse_whole(text)
    if seconds < 0:
        raise ValueError("negative seconds")
    return seconds


def parse_output_limits(text: str) -> dict[LimitClass, tuple[int, int, int]]:
    """Reads groups of `class hard soft seconds`; classes that are not named keep their default.

    The errors are those of CONFIG SET.
    """
    words = text.split()
    if len(words) % 4 != 0:
        raise ValueError("Wrong number of arguments in buffer limit configuration.")
    limits = dict(_LIMITS_DEFAULT)
    for name, hard, soft, seconds in zip(*[iter(words)] * 4, strict=True):
        client_class = _LIMIT_CLASSES.get(name.lower())
        if client_class is None:
            raise ValueError("Invalid client class specified in buffer limit configuration.")
        try:
            limits[client_class] = (parse_size(hard), parse_size(soft), _parse_seconds(seconds))
        except ValueError:
            message = "Error in hard, soft or soft_seconds setting in buffer limit configuration."
            raise ValueError(message) from None
    return limits


def _check_output_limits(value: object) -> str:
    """The one way in which the engine and CONFIG GET see the limits."""
    if not isinstance(value, str):
        raise ValueError("not text")
    limits = parse_output_limits(value)
    return " ".join(f"{name} {hard} {soft} {seconds}" for name, (hard, soft, seconds) in limits.items())


def parse_share(value: object) -> str:
    """Reads a size, or a percentage of maxmemory: 100mb, 25%. The result is in bytes or percent."""
    text = str(value).strip().lower() if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if match := re.fullmatch(r"(\d{1,3})%", text, re.ASCII):
        if int(match[1]) <= 100:
            return f"{int(match[1])}%"
        raise ValueError("more than 100%")
    return str(parse_size(text))


def parse_shares(value: object) -> str:
    """Reads groups of `prefix share`, no prefix twice."""
    words = value.split() if isinstance(value, str) else []
    prefixes = words[::2]
    if not isinstance(value, str) or len(words) % 2 or len(set(prefixes)) != len(prefixes):
        raise ValueError("not groups of a prefix and its share")
    if len(prefixes) > PIN_PREFIXES_MAX:
        raise ValueError("too many prefixes")
    return " ".join(f"{prefix} {parse_share(share)}" for prefix, share in zip(prefixes, words[1::2], strict=True))


def parse_percentiles(value: object) -> str:
    """Reads numbers from 0 to 100, separated by spaces."""
    words = value.split() if isinstance(value, str) else []
    if not isinstance(value, str) or not all(0 <= float(word) <= 100 for word in words):
        raise ValueError("not percentiles")
    return " ".join(f"{float(word):g}" for word in words)


def parse_event_letters(value: object) -> str:
    """Reads the letters of notify-keyspace-events; the result has each once, in the order of CONFIG GET.

    The error is that of CONFIG SET.
    """
    letters = value if isinstance(value, str) else "?"
    if not set(letters) <= set("A" + _EVENT_CLASSES + _EVENT_LETTERS):
        raise ValueError("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")
    classes = set(_EVENT_CLASSES) if "A" in letters else set(letters) & set(_EVENT_CLASSES)
    named = "A" if len(classes) == len(_EVENT_CLASSES) else "".join(filter(classes.__contains__, _EVENT_CLASSES))
    return named + "".join(filter(letters.__contains__, _EVENT_LETTERS))


@dataclass(frozen=True, slots=True)
class NearUser:
    """Who may read the shared memory."""

    name: str
    token: str
    """The token, or # and its SHA-256 in hexadecimal digits."""
    prefixes: tuple[str, ...] | None
    """What keys may begin with; None for all."""


def parse_near_users(text: str) -> dict[str, NearUser]:
    """Reads groups of `name token prefixes`, by name."""
    words = text.split()
    if len(words) % 3 != 0:
        raise ValueError("not groups of three")
    users: dict[str, NearUser] = {}
    for name, token, prefixes in zip(*[iter(words)] * 3, strict=True):
        if token.startswith("#") and not re.fullmatch(r"#[0-9a-f]{64}", token):
            raise ValueError("not a SHA-256")
        if name in users:
            raise ValueError("a user twice")
        users[name] = NearUser(name, token, None if prefixes == "*" else tuple(prefixes.split(",")))
    return users


def _check_near_users(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")
    parse_near_users(value)
    return " ".join(value.split())


def _check_tls_protocols(value: object) -> str:
    """Names of versions, in their order."""
    if not isinstance(value, str):
        raise ValueError("not text")
    known = ("TLSv1.2", "TLSv1.3")
    by_name = {name.lower(): name for name in known}
    named = {by_name.get(word.lower(), "") for word in value.replace(",", " ").split()}
    if "" in named:
        raise ValueError("an unknown version")
    return " ".join(name for name in known if name in named)


def _check_user_lines(value: object) -> str:
    """Lines of a name and rules, or a list of them; the workers read the rules."""
    lines = value.splitlines() if isinstance(value, str) else value
    if not isinstance(lines, list) or not all(isinstance(line, str) and "\n" not in line for line in lines):
        raise ValueError("not lines of text")
    lines = [line.strip() for line in lines if line.strip()]
    names = [line.split()[0] for line in lines]
    if len(set(names)) < len(names):
        raise ValueError("a user twice")
    return "\n".join(lines)


Whole = Annotated[int, BeforeValidator(parse_whole), Kind.WHOLE]
Size = Annotated[int, BeforeValidator(parse_size), Kind.SIZE, Ge(0)]
Switch = Annotated[bool, BeforeValidator(parse_switch), Kind.SWITCH]
Octal = Annotated[str, BeforeValidator(parse_octal), Kind.OCTAL]
OutputLimits = Annotated[str, BeforeValidator(_check_output_limits), Kind.OUTPUT_LIMITS]
Share = Annotated[str, BeforeValidator(parse_share), Kind.SHARE]
Shares = Annotated[str, BeforeValidator(parse_shares), Kind.SHARES]
Percentiles = Annotated[str, BeforeValidator(parse_percentiles), Kind.PERCENTILES]
EventLetters = Annotated[str, BeforeValidator(parse_event_letters), Kind.EVENT_LETTERS]
NearUsers = Annotated[str, BeforeValidator(_check_near_users), Kind.NEAR_USERS]
TlsProtocols = Annotated[str, BeforeValidator(_check_tls_protocols), Kind.TLS_PROTOCOLS]
UserLines = Annotated[str, BeforeValidator(_check_user_lines), Kind.USER_LINES]
Choice = BeforeValidator(parse_choice)
Port = Annotated[Whole, Field(ge=0, le=PORT_MAX)]
Count = Annotated[Whole, Field(ge=0, le=2**31 - 1)]


class Section(BaseModel):
    """Options of one subject."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: ClassVar[str] = ""
    """Begins the flat names of its options, where it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionRow:
    """One option with all that is known of it: made from the field, for errors, pages, flags and CONFIG."""

    section: str
    field: str
    name: str
    """The flat name, which is Redis's where Redis has the option."""
    kind: Kind
    default: Any
    low: int | None
    high: int | None
    choices: tuple[str, ...]
    option: Option

    @property
    def key(self) -> str:
        """The name in its section of the file."""
        return self.field.replace("_", "-")

    @property
    def parameter(self) -> str:
        """The flat name with underscores."""
        return self.name.replace("-", "_")

    def value(self, config: BaseModel) -> Any:
        """The value in a configuration."""
        return getattr(getattr(config, self.section), self.field)

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return f"{ENVIRONMENT_PREFIX}{self.parameter.upper()}"

    @property
    def default_text(self) -> str:
        """The default as it is written in the configuration page."""
        if self.option.default_text:
            return self.option.default_text
        return readable_size(self.default) if self.kind is Kind.SIZE else self.text(self.default)

    @property
    def allowed(self) -> str:
        """What may be given, for errors and pages."""
        if self.option.allowed:
            return self.option.allowed
        if self.kind is Kind.CHOICE:
            return " or ".join(self.choices) if len(self.choices) < 3 else "one of " + ", ".join(self.choices)
        if self.kind in (Kind.WHOLE, Kind.SIZE):
            what = "a whole number" if self.kind is Kind.WHOLE else "a size such as 100mb or 2gb"
            return f"{what} {self._range}".rstrip()
        return {
            Kind.SWITCH: "yes or no",
            Kind.OCTAL: "octal permissions such as 700, or 0 to leave them",
            Kind.TEXT: "text",
            Kind.SHARE: "a size such as 100mb, or a percentage of maxmemory such as 25%",
            Kind.SHARES: f"up to {PIN_PREFIXES_MAX} groups of PREFIX and a size or percentage of maxmemory, by spaces",
            Kind.TLS_PROTOCOLS: "TLSv1.2 and TLSv1.3, separated by spaces",
            Kind.PERCENTILES: "numbers from 0 to 100, separated by spaces",
            Kind.EVENT_LETTERS: "letters of A g $ l s h z x e t d m n K E",
            Kind.OUTPUT_LIMITS: "groups of CLASS HARD SOFT SECONDS, where CLASS is normal, replica or pubsub",
            Kind.NAMESPACES: "groups of PREFIX ACK",
            Kind.NEAR_USERS: "groups of NAME TOKEN PREFIXES, where PREFIXES are separated by commas, or * for all",
        }[self.kind]

    @property
    def _range(self) -> str:
        low, high = (None if bound is None else self._bound(bound) for bound in (self.low, self.high))
        if low is None or high is None or (self.high or 0) >= INTEGER_MAX:
            return f"from {low}" if low is not None else ""
        return f"from {low} to {high}"

    def _bound(self, bound: int) -> str:
        return readable_size(bound) if self.kind is Kind.SIZE else str(bound)

    def text(self, value: object) -> str:
        """A value as CONFIG GET prints it."""
        if value is None:
            return ""
        return ("yes" if value else "no") if self.kind is Kind.SWITCH else str(value)


def readable_size(size_bytes: int) -> str:
    """A size in the largest unit that leaves it whole."""
    for unit in ("gb", "mb", "kb"):
        if size_bytes and size_bytes % SIZE_UNITS[unit] == 0:
            return f"{size_bytes // SIZE_UNITS[unit]}{unit}"
    return str(size_bytes)


def row_of(section: str, prefix: str, field: str, info: FieldInfo) -> OptionRow:
    """Collects what a field of a section declares."""
    options = [entry for entry in info.metadata if isinstance(entry, Option)]
    assert len(options) == 1, f"{field} declares no Option"
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    kinds = [entry for entry in info.metadata if isinstance(entry, Kind)]
    lows = [parse_whole(entry.ge) for entry in info.metadata if isinstance(entry, Ge)]
    highs = [parse_whole(entry.le) for entry in info.metadata if isinstance(entry, Le)]
    return OptionRow(
        section=section,
        field=field,
        name="-".join([*prefix.split(), *field.split("_")]),
        kind=kinds[0] if kinds else Kind.CHOICE if choices else Kind.TEXT,
        default=info.get_default(call_default_factory=True, validated_data={}),
        low=max(lows, default=None),
        high=min(highs, default=None),
        choices=tuple(choices),
        option=options[0],
    )
