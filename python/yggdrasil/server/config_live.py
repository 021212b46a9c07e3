"""The configuration while the node runs: what CONFIG GET and SET do."""

import fnmatch
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError

from yggdrasil.server import config_fixed
from yggdrasil.server.config import OPTIONS, Config
from yggdrasil.server.config_sources import explain
from yggdrasil.server.errors import ConfigSetError
from yggdrasil.server.option import Kind, OptionRow, parse_event_letters, parse_output_limits, parse_size, parse_whole

Pairs = Iterable[tuple[str, str]]


def matching(config: Config, patterns: Iterable[str]) -> dict[str, str]:
    """The options whose names fit one of the patterns, with their values as CONFIG GET prints them."""
    values = {name: config.text(name) for name, row in OPTIONS.items() if not row.option.file_only}
    values |= {name: config_fixed.value(config, name) for name in config_fixed.names()}
    values |= {alias: values[name] for alias, name in config_fixed.ALIASES.items()}
    found: dict[str, str] = {}
    for pattern in patterns:
        lowered = pattern.lower()
        if lowered in values:
            # A plain name is given back as it was written.
            found[pattern] = values[lowered]
        else:
            found.update({name: value for name, value in values.items() if fnmatch.fnmatchcase(name, lowered)})
    return found


def changed(config: Config, pairs: Pairs) -> Config:
    """The configuration with these options set, or an error with the text of the reply to CONFIG SET."""
    update: dict[str, Any] = {}
    given: dict[str, str] = {}
    for name, text in ((_own_name(name), text) for name, text in pairs):
        if not config_fixed.is_fixed(name) and (name not in OPTIONS or OPTIONS[name].option.file_only):
            raise ConfigSetError(f"ERR Unknown option or number of arguments for CONFIG SET - '{name}'")
        if name in given:
            raise _refused(name, "duplicate parameter")
        given[name] = text
        if config_fixed.is_fixed(name):
            reason = config_fixed.refusal(config, name, text)
            if reason is not None:
                raise _refused(name, reason)
            continue
        row = OPTIONS[name]
        if not row.option.runtime:
            raise _refused(name, "can't set immutable config")
        # Classes of clients that are not named keep their limits.
        update[name] = f"{config.text(name)} {text}" if row.kind is Kind.OUTPUT_LIMITS else text
    try:
        return config.with_values(update)
    except ValidationError as error:
        name, allowed = explain(error)
        row = OPTIONS[name]
        # What options want of each other says more than the kind of the value.
        reason = _reason(row, given.get(name, "")) if allowed == row.allowed else f"argument must be {allowed}"
        raise _refused(name, reason) from None


def settable(pairs: Pairs) -> dict[str, str]:
    """The options among these that can be set at all, by their names: what other processes have to be told."""
    named = ((_own_name(name), text) for name, text in pairs)
    return {name: text for name, text in named if not config_fixed.is_fixed(name)}


def _own_name(name: str) -> str:
    lowered = name.lower()
    return config_fixed.ALIASES.get(lowered, lowered)


def _reason(row: OptionRow, text: str) -> str:
    """What is wrong with a value, in the words that clients of Redis know."""
    match row.kind:
        case Kind.SIZE if _fails(parse_size, text):
            return "argument must be a memory value"
        case Kind.WHOLE if _fails(parse_whole, text):
            return "argument couldn't be parsed into an integer"
        case Kind.SIZE | Kind.WHOLE:
            return f"argument must be between {row.low} and {row.high} inclusive"
        case Kind.SWITCH:
            return "argument must be 'yes' or 'no'"
        case Kind.CHOICE:
            return f"argument(s) must be one of the following: {', '.join(row.choices)}"
        case Kind.OUTPUT_LIMITS:
            return _fails(parse_output_limits, text) or f"argument must be {row.allowed}"
        case Kind.EVENT_LETTERS:
            return _fails(parse_event_letters, text)
        case _:
            return f"argument must be {row.allowed}"


def _fails(parse: Callable[[str], object], text: str) -> str:
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


def _refused(name: str, reason: str) -> ConfigSetError:
    return ConfigSetError(f"ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")
