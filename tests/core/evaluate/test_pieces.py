"""Pieces of text add up to the text, with characters that span tokens and spaces that tokenizers swallow."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from benchvise.core.evaluate.pieces import text_pieces


def bytewise(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", errors="replace")


@given(st.text(max_size=12), st.text(max_size=12))
def test_pieces_add_up_when_every_byte_is_a_token(prompt: str, text: str) -> None:
    pieces = text_pieces(bytewise, prompt.encode(), text.encode())
    assert len(pieces) == len(text.encode())
    assert "".join(pieces) == text


def test_parts_of_a_character_wait_for_the_last() -> None:
    assert text_pieces(bytewise, b"a", "ü!".encode()) == ("", "ü", "!")


def test_unfinished_end_is_shown() -> None:
    assert text_pieces(bytewise, b"a", "ü".encode()[:1]) == ("\ufffd",)


def test_space_before_the_first_word_is_kept() -> None:
    words = ["", "Once", "upon", "a"]

    def decode(ids: Sequence[int]) -> str:
        return "".join(f" {words[i]}" for i in ids).strip()

    assert text_pieces(decode, [1], [2, 3]) == (" upon", " a")
