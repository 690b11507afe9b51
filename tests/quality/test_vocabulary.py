"""One public name, one meaning: words that the glossary replaced do not come back."""

from __future__ import annotations

from collections import Counter

from tests.quality.vocabulary import found, room_of

ALLOWED: dict[str, int] = {
    "app/cli": 24,
    "app/preflight": 23,
    "app/sensitivity": 24,
    "app/shell": 1,
    "app/state": 2,
    "core": 8,
    "core/allocate": 47,
    "core/analysis": 16,
    "core/blockwise": 55,
    "core/checkpoint": 3,
    "core/estimate": 33,
    "core/evaluate": 1,
    "core/export": 7,
    "core/kernels": 1,
    "core/methods": 27,
    "core/preflight": 26,
    "core/protocol": 15,
    "core/recipe": 18,
    "core/runtime": 55,
    "core/sensitivity": 30,
    "core/workspace": 17,
    "tests/app": 6,
    "tests/benchmarks": 42,
    "tests/core": 149,
}
"""Old words still to be replaced, by room. Numbers only go down."""


def test_no_word_that_the_glossary_replaced_is_left() -> None:
    every = list(found())
    counts = Counter(room_of(path) for path, *_ in every)
    too_many = [
        f"{path}:{number}: {word}: say {instead}"
        for path, number, word, instead in every
        if counts[room_of(path)] > ALLOWED.get(room_of(path), 0)
    ]
    assert not too_many, "\n".join(too_many)
