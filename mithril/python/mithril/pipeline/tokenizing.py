"""Tokens of texts, by our own encoder where it knows the tokenizer, and by the package tokenizers elsewhere."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mithril import _kernels
from mithril.core.errors import InputError
from mithril.pipeline.errors import PipelineError
from mithril.pipeline.extras import extra
from mithril.pipeline.stages import Transform

_BYTES = 256
# Added tokens, each of which is looked for in every text.
_ADDED_MAX = 16


class Tokenize(Transform):
    """A transform of texts into arrays of tokens, int32.

    `tokenizer` is one of the package tokenizers, or the path of its tokenizer.json. Samples are strings, or
    dictionaries with a text under `name`, whose place the tokens take. Special tokens of templates are not added; `end`
    is a token behind each text.

    Byte-level encodings with the pattern of GPT-2 are done natively (`native` is true), all others by tokenizers.
    """

    def __init__(self, tokenizer: Any, *, name: str | None = None, end: int | None = None) -> None:
        self._definition = _definition(tokenizer)
        self._name = name
        self._end = [] if end is None else [end]
        self._encoder = _native(json.loads(self._definition))
        self.native = self._encoder is not None
        self._library = None if self.native else _library(self._definition)

    def __reduce__(self) -> tuple[Any, ...]:
        """The definition goes to other processes."""
        return _again, (self._definition, self._name, self._end)

    def size_hint(self, samples: int) -> int:
        """As many."""
        return samples

    def transform(self, samples: Sequence[Any]) -> Sequence[Any]:
        """Turns texts into tokens."""
        texts = [self._text(sample) for sample in samples]
        found = self._encoded(texts)
        if self._name is None:
            return found
        return [{**sample, self._name: tokens} for sample, tokens in zip(samples, found, strict=True)]

    def _text(self, sample: Any) -> str:
        text = sample
        if self._name is not None:
            if not isinstance(sample, Mapping) or self._name not in sample:
                raise PipelineError(f"the sample has no {self._name}")
            text = sample[self._name]
        if not isinstance(text, str):
            raise PipelineError(f"a text is a string, not {type(text).__name__}")
        return text

    def _encoded(self, texts: list[str]) -> list[NDArray[np.int32]]:
        if self._encoder is None:
            assert self._library is not None
            encodings = self._library.encode_batch_fast(texts, add_special_tokens=False)
            return [np.array([*encoding.ids, *self._end], np.int32) for encoding in encodings]
        tokens, ends = self._encoder.encode(texts, self._end)
        found = np.frombuffer(tokens, np.int32)
        bounds = np.frombuffer(ends, np.int64).tolist()
        return [found[start:end] for start, end in zip([0, *bounds], bounds, strict=False)]


def _again(definition: str, name: str | None, end: list[int]) -> Tokenize:
    return Tokenize(_Defined(definition), name=name, end=end[0] if end else None)


class _Defined:
    """The definition of a tokenizer."""

    def __init__(self, definition: str) -> None:
        self._definition = definition

    def to_str(self) -> str:
        return self._definition


def _definition(tokenizer: Any) -> str:
    if isinstance(tokenizer, str | Path):
        try:
            text = Path(tokenizer).read_text()
            json.loads(text)
        except (OSError, ValueError) as error:
            raise InputError(f"{tokenizer}: this is no tokenizer that can be read: {error}") from error
        return text
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(backend, "to_str"):
        raise PipelineError(
            f"{type(tokenizer).__name__} is no tokenizer; give one of the package tokenizers, or a path"
        )
    return str(backend.to_str())


def _library(definition: str) -> Any:
    return extra("tokenizers", "this kind of tokenizer", "tokenizers", "tokenize").Tokenizer.from_str(definition)


def _native(definition: Mapping[str, Any]) -> _kernels.TokenEncoder | None:
    """The encoder of a definition; None for what only the library knows."""
    model, splitter = definition.get("model") or {}, definition.get("pre_tokenizer") or {}
    added = definition.get("added_tokens") or []
    special = [model.get(key) for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")]
    known = (
        model.get("type") == "BPE"
        and not any(special)
        and not any(model.get(key) for key in ("byte_fallback", "ignore_merges"))
        and splitter.get("type") == "ByteLevel"
        and splitter.get("use_regex", True)
        and not splitter.get("add_prefix_space")
        and not any(definition.get(key) for key in ("normalizer", "truncation", "padding"))
        and len(added) <= _ADDED_MAX
        and not any(token.get(key) for token in added for key in ("lstrip", "rstrip", "single_word"))
    )
    vocabulary = model.get("vocab") or {}
    letters = _letters()
    if not known or any(letter not in vocabulary for letter in letters):
        return None
    pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model.get("merges") or []]
    try:
        merges = [[vocabulary[left], vocabulary[right], vocabulary[left + right]] for left, right in pairs]
    except (KeyError, ValueError):
        return None
    return _kernels.TokenEncoder(
        np.array([vocabulary[letter] for letter in letters], np.uint32).data.cast("B"),
        np.array(merges, np.uint32).reshape(-1).tobytes(),
        [(str(token["content"]), int(token["id"])) for token in added],
    )


def _letters() -> list[str]:
    """The letter that stands for each byte in vocabularies of byte-level encodings."""
    plain = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(_BYTES, 2 * _BYTES))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(_BYTES)]
