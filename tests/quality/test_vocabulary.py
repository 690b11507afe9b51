"""One public name, one meaning: words that the glossary replaced do not come back."""

from __future__ import annotations

from tests.quality.vocabulary import found


def test_no_word_that_the_glossary_replaced_is_left() -> None:
    left = [f"{path}:{number}: {word}: say {instead}" for path, number, word, instead in found()]
    assert not left, "\n".join(left)
