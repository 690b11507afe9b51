"""One public name, one meaning: words that the glossary replaced do not come back."""

from __future__ import annotations

from collections import Counter

from tests.quality.vocabulary import found, room_of

ALLOWED: dict[str, int] = {
    "app/cli": 1,
    "app/sensitivity": 22,
    "app/shell": 1,
    "core": 2,
    "core/analysis": 16,
    "core/evaluate": 1,
    "core/export": 5,
    "core/methods": 27,
    "core/protocol": 3,
    "core/recipe": 12,
    "core/runtime": 50,
    "core/sensitivity": 19,
    "tests/app": 6,
    "tests/benchmarks": 6,
    "tests/core": 135,
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
