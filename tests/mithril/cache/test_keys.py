"""Keys are hashed alike everywhere, and differ in whatever an artifact depends on."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mithril.cache.keys import DYNAMIC, CacheKey, DeviceClass, InputSpec

KEY = CacheKey(
    "torch",
    "graph",
    "f00d",
    (InputSpec((DYNAMIC, 16), "bfloat16"),),
    DeviceClass.cuda((9, 0)),
    (("torch", "2.15.0"), ("cuda", "13.2")),
)


def test_the_hash_of_a_key_is_the_same_on_every_machine() -> None:
    assert KEY.text() == (
        '{"device":{"features":"9.0","kind":"cuda"},"framework":"torch","inputs":[{"dtype":"bfloat16","shape":[-1,16]}],'
        '"kind":"graph","subject":"f00d","versions":[["cuda","13.2"],["torch","2.15.0"]]}'
    )
    assert KEY.digest() == "5420753f7cd952c1adcf3293b48a822755e21b105b56432a43054e7a061dd899"


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "beef"},
        {"inputs": (InputSpec((4, 16), "bfloat16"),)},
        {"inputs": (InputSpec((DYNAMIC, 16), "float16"),)},
        {"device": DeviceClass.cuda()},
        {"device": DeviceClass.cpu("x86_64", ("avx2",))},
        {"device": None},
        {"versions": (("torch", "2.15.1"), ("cuda", "13.2"))},
    ],
    ids=str,
)
def test_each_dependency_is_part_of_the_key(change: dict[str, object]) -> None:
    assert dataclasses.replace(KEY, **change).digest() != KEY.digest()  # type: ignore[arg-type]


def test_the_order_of_versions_and_instruction_sets_is_not() -> None:
    assert dataclasses.replace(KEY, versions=KEY.versions[::-1]).digest() == KEY.digest()
    assert DeviceClass.cpu("x86_64", ("b", "a")) == DeviceClass.cpu("x86_64", ("a", "b"))


@given(st.text(), st.lists(st.integers(-1, 1 << 40), max_size=5), st.text(max_size=9))
def test_a_key_comes_back_from_its_text(subject: str, shape: list[int], version: str) -> None:
    key = CacheKey("x", "y", subject, (InputSpec(tuple(shape), "f"),), None, (("v", version),))
    assert CacheKey.parse(key.text()) == key


@given(st.text())
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the text of a key"):
        CacheKey.parse(text)


def test_a_negative_dimension_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0"):
        InputSpec((-2,), "f")
