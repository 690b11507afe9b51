"""Tokens as the pieces of text that each of them adds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

UNFINISHED = "\ufffd"


def text_pieces(
    decode: Callable[[Sequence[int]], str], prompt_ids: Sequence[int], new_ids: Sequence[int]
) -> tuple[str, ...]:
    """One piece per new token; joined they are the whole continuation as `decode` gives it.

    Decoding starts at the prompt, so that the space before the first new word is kept. A token that ends within a
    character of several bytes has an empty piece, and the token that completes the character has all of it.
    """
    emitted = decode(prompt_ids)
    pieces: list[str] = []
    for count in range(1, len(new_ids) + 1):
        text = decode([*prompt_ids, *new_ids[:count]])
        if text.endswith(UNFINISHED) and count < len(new_ids):
            pieces.append("")
            continue
        pieces.append(text[_shared(emitted, text) :])
        emitted = text
    return tuple(pieces)


def _shared(before: str, after: str) -> int:
    """Length of what both begin with; `before` as a rule, unless its end was a part of a character."""
    if after.startswith(before):
        return len(before)
    return next(i for i, (a, b) in enumerate(zip(before + "\0", after + "\1", strict=False)) if a != b)
