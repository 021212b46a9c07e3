"""Documents with planted duplicates, and the truth about them by comparing all pairs."""

import random
import re
from collections.abc import Sequence

_WORD = re.compile(r"[^\W]+")
_VOCABULARY = 4000


def shingles(text: str, size: int = 5) -> set[tuple[str, ...]]:
    """The sets that similarity is defined by."""
    words = _WORD.findall(text.lower())
    return {tuple(words[at : at + size]) for at in range(max(len(words) - size + 1, 1))} if words else set()


def jaccard(left: set[tuple[str, ...]], right: set[tuple[str, ...]]) -> float:
    return len(left & right) / len(left | right) if left and right else 0.0


def true_roots(texts: Sequence[str], threshold: float) -> list[int]:
    """The first document of the component of each, all pairs compared."""
    sets = [shingles(text) for text in texts]
    roots = list(range(len(texts)))

    def root(number: int) -> int:
        while roots[number] != number:
            number = roots[number]
        return number

    for later in range(len(texts)):
        for earlier in range(later):
            if jaccard(sets[earlier], sets[later]) >= threshold:
                left, right = root(earlier), root(later)
                roots[max(left, right)] = min(left, right)
    return [root(number) for number in range(len(texts))]


def planted(seed: int, bases: int = 200, copies: int = 80) -> list[str]:
    """Random documents, and copies of some with a share of the words replaced, in random order."""
    chance = random.Random(seed)
    words = [f"word{number}" for number in range(_VOCABULARY)]
    texts = [" ".join(chance.choices(words, k=chance.randint(40, 160))) for _ in range(bases)]
    for _ in range(copies):
        copy = chance.choice(texts).split()
        for _ in range(int(len(copy) * chance.choice([0, 0.005, 0.01, 0.02, 0.05]))):
            copy[chance.randrange(len(copy))] = chance.choice(words)
        texts.append(chance.choice([" ", "  ", "\n"]).join(copy))
    chance.shuffle(texts)
    return texts
