"""Transforms: tokens, pixels, numbers, categories, windows, random changes, embeddings; batches that do not stack."""

import functools
import io
import json
import pickle
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, trainers

from mithril.core.errors import InputError
from mithril.dedup import open_index
from mithril.pipeline import (
    Augment,
    DecodeImage,
    Deduplicate,
    Embed,
    HashBucket,
    Normalize,
    OneHot,
    Pipeline,
    PipelineError,
    Ragged,
    Sparse,
    Tokenize,
    TransformError,
    Window,
    crop,
    flip,
)
from mithril.pipeline.holds import measure, size_of

TEXTS = [
    "The quick brown fox, it's 42 years old;  isn't it?\n\n  Übermut tut selten gut: 語 ½ Ⅷ\t\t!",
    "",
    " leading and trailing ",
    "a" * 3000 + " " * 200 + "".join(map(chr, range(32, 0x2FF))),
    "<|end|>inside<|end|> of it<|endless|>",
]


def trained(kind: Any) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = kind
    corpus = [Path(__file__).read_text(), *TEXTS]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=900, show_progress=False, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True), AddedToken("<|endless|>", special=True)])
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return trained(pre_tokenizers.ByteLevel(add_prefix_space=False))


def library(tokenizer: Tokenizer, texts: list[str], end: list[int]) -> list[list[int]]:
    return [[*tokenizer.encode(text, add_special_tokens=False).ids, *end] for text in texts]


def test_native_tokens_are_those_of_the_library(tokenizer: Tokenizer, tmp_path: Path) -> None:
    chance = random.Random(5)
    letters = "abc 'stdmré1\n\t語\u3000!\u0301\u00a0😀"
    texts = TEXTS + ["".join(chance.choices(letters, k=chance.randrange(60))) for _ in range(300)]
    path = tmp_path / "tokenizer.json"
    tokenizer.save(str(path))
    for given in (tokenizer, path, pickle.loads(pickle.dumps(Tokenize(tokenizer, end=3)))):
        tokenize = given if isinstance(given, Tokenize) else Tokenize(given, end=3)
        assert tokenize.native
        assert [found.tolist() for found in tokenize.transform(texts)] == library(tokenizer, texts, [3])


def test_other_tokenizers_are_the_librarys_own() -> None:
    tokenizer = trained(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tokenize = Tokenize(tokenizer)
    assert not tokenize.native
    assert [found.tolist() for found in tokenize.transform(TEXTS)] == library(tokenizer, TEXTS, [])


def test_tokens_take_the_place_of_the_text_and_are_packed(tokenizer: Tokenizer) -> None:
    samples = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
    found = list(Pipeline(samples).map(Tokenize(tokenizer, name="text", end=1)))
    assert [sample["id"] for sample in found] == list(range(len(TEXTS)))
    rows = list(Pipeline(TEXTS).map(Tokenize(tokenizer, end=1)).pack(16))
    flat = [token for row in library(tokenizer, TEXTS, [1]) for token in row]
    assert np.concatenate(rows).tolist() == flat[: len(flat) // 16 * 16]


def test_what_is_no_text_or_tokenizer_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(
        TransformError, match="number 1, sample 0: Tokenize raised PipelineError: a text is a string, not int"
    ):
        list(Pipeline(["a", 3]).map(Tokenize(tokenizer)))
    with pytest.raises(InputError, match="no tokenizer that can be read"):
        Tokenize(tmp_path / "none.json")
    with pytest.raises(PipelineError, match="dict is no tokenizer"):
        Tokenize({})


def jpeg(side: int = 64, mode: str = "RGB", **options: Any) -> tuple[bytes, Image.Image]:
    place = np.linspace(0, 255, side, dtype=np.uint8)
    pixels = np.stack([np.broadcast_to(place, (side, side)), np.broadcast_to(place[:, None], (side, side))], axis=2)
    image = Image.fromarray(np.concatenate([pixels, pixels[:, :, :1] // 2], axis=2)).convert(mode)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, **options)
    return file.getvalue(), image


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_native_pixels_are_near_those_of_pillow(mode: str, progressive: bool) -> None:
    data, _ = jpeg(mode=mode, progressive=progressive)
    for size in (None, (40, 30), (100, 90)):
        native = DecodeImage(size=size)({"data": data})["data"]
        pillow = DecodeImage(size=size, decoder="pillow")({"data": data})["data"]
        assert native.shape == pillow.shape == (*(size or (64, 64)), 3)
        assert np.abs(native.astype(int) - pillow.astype(int)).max() <= 6


def test_a_damaged_image_is_named() -> None:
    data, _ = jpeg()
    with pytest.raises(TransformError, match="sample 0: decode_image raised"):
        list(Pipeline([{"data": data[:40]}]).map(DecodeImage()))
    with pytest.raises(PipelineError, match="native or pillow"):
        DecodeImage(decoder="other")  # type: ignore[arg-type]


def test_numbers_and_categories() -> None:
    pixels = np.array([[[0, 255, 51]]], np.uint8)
    found = Normalize((0.5, 0.5, 0), (0.5, 0.25, 1))(pixels)
    np.testing.assert_allclose(found, [[[-1, 2, 0.2]]], rtol=1e-6)
    assert Normalize(1, 2, name="x")({"x": np.array([5.0]), "y": 1})["x"].tolist() == [2.0]
    assert OneHot(3)(1).tolist() == [0, 1, 0]
    assert OneHot(["cat", "dog"], name="label")({"label": "dog"})["label"].tolist() == [0, 1]
    buckets = [HashBucket(10)(value) for value in ("a", b"a", "b", 7)]
    assert buckets == [8, 8, 8, 5]
    with pytest.raises(PipelineError, match="'cow' is none of the 2 classes"):
        OneHot(["cat", "dog"])("cow")


def test_windows_of_sequences() -> None:
    assert list(Pipeline([range(5), range(1)]).flat_map(Window(3, 2))) == [range(3), range(2, 5)]
    assert Window(2, name="x")({"x": [1, 2, 3, 4], "y": 0}) == [{"x": [1, 2], "y": 0}, {"x": [3, 4], "y": 0}]


def test_random_changes_are_those_of_seed_epoch_and_sample() -> None:
    images = [np.arange(48, dtype=np.uint8).reshape(4, 4, 3) + number for number in range(40)]

    def epochs(seed: int, change: Callable[..., Any], workers: int) -> list[list[Any]]:
        pipeline = Pipeline(images, seed=seed).map(Augment(change), workers=workers)
        return [[part.tolist() for part in pipeline] for _ in range(2)]

    for change in (flip, crop(2, 3)):
        first, second = epochs(1, change, 1)
        assert epochs(1, change, 4) == [first, second]
        assert first != second
        assert epochs(2, change, 1)[0] != first
    whole = [image.tolist() for image in images]
    flipped = epochs(1, flip, 1)[0]
    assert 0 < sum(one == other for one, other in zip(flipped, whole, strict=True)) < len(images)
    with pytest.raises(TransformError, match="no part of"):
        list(Pipeline(images).map(Augment(crop(5, 5))))


@pytest.mark.parametrize("shape", ["array", "dict", "tuple", "objects", "image"])
def test_random_changes_depend_on_all_of_a_sample(shape: str) -> None:
    def sample(number: int) -> Any:
        # The text of an array of this size leaves the middle out.
        pixels = np.zeros((60, 60), np.uint8)
        pixels[30, 30] = number
        if shape == "image":
            return Image.fromarray(pixels)
        boxed = np.empty(1, object)
        boxed[0] = pixels
        return {"array": pixels, "dict": {"x": pixels}, "tuple": (pixels, 1), "objects": boxed}[shape]

    def chances() -> list[int]:
        change = Augment(lambda _, chance: int(chance.integers(2**32)))
        return list(Pipeline([sample(number) for number in range(20)]).map(change))

    assert len(set(chances())) == 20
    assert chances() == chances()


def test_a_model_embeds_and_an_index_leaves_out_what_it_knows() -> None:
    rows = list(Pipeline(range(10)).map(Embed(lambda values: np.array(values)[:, None] * 2.0)))
    assert [row.tolist() for row in rows] == [[2.0 * number] for number in range(10)]
    named = list(Pipeline([{"x": 3}]).map(Embed(np.array, name="x")))
    assert named == [{"x": 3, "embedding": 3}]
    with pytest.raises(TransformError, match="0 rows for 1 samples"):
        list(Pipeline(range(2)).map(Embed(lambda _: [])))

    class Index:
        def query(self, texts: pa.StringArray) -> Any:
            return type("Matches", (), {"new": np.array([text.as_py() != "old" for text in texts])})

    assert list(Pipeline(["new", "old", "more"]).map(Deduplicate(Index()))) == ["new", "more"]


@pytest.mark.parametrize(
    ("unit", "old", "new"),
    [("words", "an old text", "a new one"), ("tokens", [1, 2, 3], np.array([1, 2, 4], np.int32))],
)
def test_an_index_leaves_out_what_it_knows(tmp_path: Path, unit: str, old: Any, new: Any) -> None:
    with open_index(tmp_path / "index", shingle_unit=unit) as index:
        index.add(pa.array([old]))
        rows = [{"t": old}, {"t": new}, {"t": None}]
        found = list(Pipeline(rows).map(Deduplicate(index, name="t")))
        assert [row["t"] is new or row["t"] is None for row in found] == [True, True]
        assert list(Pipeline([None]).map(Deduplicate(index))) == [None]
        with pytest.raises(TransformError, match="takes texts; name= says where dictionaries have theirs"):
            list(Pipeline(rows).map(Deduplicate(index)))


def test_rows_of_different_lengths_share_memory_with_arrow_and_torch() -> None:
    rows = [np.arange(3), np.zeros(0, np.int64), np.arange(2)]
    batch = next(iter(Pipeline(rows).batch(3, collate=Ragged.of)))
    assert [row.tolist() for row in (batch[0], batch[1], batch[2])] == [[0, 1, 2], [], [0, 1]]
    lists = batch.to_arrow()
    assert lists.to_pylist() == [[0, 1, 2], [], [0, 1]]
    again = Ragged.from_arrow(lists)
    assert np.shares_memory(again.values, batch.values)
    nested = batch.to_torch()
    assert [row.tolist() for row in nested.unbind()] == [[0, 1, 2], [], [0, 1]]
    batch.values[0] = 9
    assert nested.values()[0] == 9
    with pytest.raises(PipelineError, match="first dimension alone"):
        Ragged.of([np.zeros((1, 2)), np.zeros((1, 3))])


def test_rows_of_several_dimensions_and_columns_of_tables_are_ragged_too() -> None:
    batch = Ragged.of([np.ones((2, 3), np.float32), np.zeros((1, 3), np.float32)])
    again = Ragged.from_arrow(batch.to_arrow())
    assert again.values.shape == (3, 3)
    assert again[1].tolist() == [[0, 0, 0]]
    lists = [[9], [1, 2], [3], [4, 5, 6]]
    for column in (pa.array(lists), pa.chunked_array([lists[:1], lists[1:3], lists[3:]])):
        rows = Ragged.from_arrow(column.slice(1))
        assert [rows[number].tolist() for number in range(len(rows))] == lists[1:]
        assert rows.offsets.tolist() == [0, 2, 3, 6]
        assert [row.tolist() for row in rows.to_torch().unbind()] == lists[1:]


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_ragged_and_sparse_batches_become_tensors_whose_memory_counts() -> None:
    ragged = Pipeline([[1.0] * 1000, [2.0]] * 4, memory_bytes=1 << 20).batch(2, collate=Ragged.of).to_torch()
    for batch in ragged:
        assert [len(row) for row in batch.unbind()] == [1000, 1]
        assert ragged.statistics().memory_bytes >= 8008
    assert ragged.statistics().memory_bytes == 0
    sparse = Pipeline([([0], [1.0])] * 4, memory_bytes=1 << 20)
    sparse = sparse.batch(2, collate=functools.partial(Sparse.of, width=3)).to_torch()
    assert [batch.to_dense().tolist() for batch in sparse] == [[[1, 0, 0], [1, 0, 0]]] * 2
    assert sparse.statistics().memory_bytes == 0


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning", "ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("form", ["csr", "csc", "coo", "strided", "jagged"])
def test_tensors_of_several_parts_are_measured(form: str) -> None:
    dense = torch.eye(1000)
    match form:
        case "csr":
            tensor = dense.to_sparse_csr()
        case "csc":
            tensor = dense.to_sparse_csc()
        case "coo":
            tensor = dense.to_sparse_coo()
        case _:
            layout = torch.jagged if form == "jagged" else torch.strided
            tensor = torch.nested.nested_tensor([torch.ones(500), torch.ones(500)], layout=layout)
    assert 4000 <= size_of(measure(tensor)) < 30_000


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_rows_that_are_mostly_zero() -> None:
    batch = Sparse.of([([1, 3], [2.0, 4.0]), ([], []), ([0], [1.0])], 4)
    dense = [[0, 2, 0, 4], [0, 0, 0, 0], [1, 0, 0, 0]]
    assert batch.to_dense().tolist() == dense
    assert [part.tolist() for part in batch.to_coordinates()] == [[0, 0, 2], [1, 3, 0], [2, 4, 1]]
    assert torch.equal(batch.to_torch().to_dense(), torch.tensor(dense, dtype=torch.float64))
    with pytest.raises(PipelineError, match="columns are from 0 to 1"):
        Sparse.of([([2], [1.0])], 2)


def test_a_tokenizer_that_only_looks_native_is_the_librarys(tokenizer: Tokenizer) -> None:
    definition = json.loads(tokenizer.to_str())
    definition["model"]["merges"] = definition["model"]["merges"][:5]
    definition["model"]["byte_fallback"] = True
    assert not Tokenize(Tokenizer.from_str(json.dumps(definition))).native
