"""The filter line over layers: words that must all hold.

`q_proj` part of the name · `*.mlp.*` glob · `re:REGEX` · `dtype:bfloat16` · `shape:64x172` · `role:attention.*` ·
`tag:int4*` the treatment.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import message

Mask = NDArray[np.bool_]
HELP = message("name, glob *.mlp.*, re:…, dtype:…, shape:64x172, role:…, tag:…")


class LayerFilter:
    """A checkpoint's layers made ready for filtering: lower-case names, and each distinct property with its layers."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._names = [layer.name.lower() for layer in layers]
        self._dtypes = _Property([layer.dtype for layer in layers])
        self._shapes = _Property(["x".join(map(str, layer.shape)) for layer in layers])
        self._roles = _Property([layer.role for layer in layers])

    def mask(self, text: str, tags: tuple[Sequence[str], NDArray[np.int32]] | None = None) -> Mask:
        """bool [layers]: which all words of `text` name. Raises ValueError with a sentence on a broken expression.

        tags: distinct treatment tags, and int32 [layers], the index of each layer's own.
        """
        kept = np.ones(len(self._names), bool)
        for word in text.split():
            kept &= self._word(word, tags)
        return kept

    def _word(self, word: str, tags: tuple[Sequence[str], NDArray[np.int32]] | None) -> Mask:
        key, colon, value = word.partition(":")
        if colon and key == "re":
            return self._by_name(_expression(value).search)
        known = {"dtype": self._dtypes, "shape": self._shapes, "role": self._roles}.get(key)
        if colon and known is not None:
            return known.matching(value.lower().replace("×", "x"))
        if colon and key == "tag":
            if tags is None:
                return np.zeros(len(self._names), bool)
            return _matching(tags[0], value.lower())[tags[1]]
        lowered = word.lower()
        if any(mark in word for mark in "*?["):
            return self._by_name(re.compile(fnmatch.translate(lowered)).match)
        return np.fromiter((lowered in name for name in self._names), bool, len(self._names))

    def _by_name(self, test: Callable[[str], object]) -> Mask:
        return np.fromiter((test(name) is not None for name in self._names), bool, len(self._names))


class _Property:
    def __init__(self, values: Sequence[str]) -> None:
        numbers: dict[str, int] = {}
        self._of = np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), np.int64, len(values))
        self._distinct = list(numbers)

    def matching(self, pattern: str) -> Mask:
        return _matching(self._distinct, pattern)[self._of]


def _matching(values: Sequence[str], pattern: str) -> Mask:
    """Which values begin with the pattern, or match it as a glob."""
    test = re.compile(fnmatch.translate(pattern if any(mark in pattern for mark in "*?[") else f"{pattern}*")).match
    found = np.fromiter((test(value.lower()) is not None for value in values), bool, len(values))
    return found if found.size else np.zeros(1, bool)


def _expression(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"Not a valid regular expression: {error}") from error
