"""Which layers a rule's patterns name.

A pattern is one of:
  a word:      `linears` (linear layers except the output head and routers), `embeddings`, `convolutions`, `all`;
  `role:GLOB`  the layer's role, e.g. `role:attention.*`, `role:lm_head`;
  `depth:A-B`  blocks A to B, or `depth:A`;
  `re:REGEX`   found at the start of the layer's or tensor's name, as `re.match`;
  otherwise    a layer's or tensor's name, or a glob over it (`*` also matches dots).
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import RecipeError

# A router weighs nothing, and each of its errors sends tokens to other experts.
_BY_NAME_ONLY = frozenset({"lm_head", "mlp.router"})

WORDS: dict[str, Callable[[Layer], bool]] = {
    "linears": lambda layer: layer.kind == "linear" and layer.role not in _BY_NAME_ONLY,
    "embeddings": lambda layer: layer.kind == "embedding",
    "convolutions": lambda layer: layer.kind == "conv",
    "all": lambda _: True,
}

_GLOB = re.compile(r"[*?\[]")


def is_name(pattern: str) -> bool:
    """True for a pattern that is a layer's or tensor's name itself."""
    return pattern not in WORDS and ":" not in pattern and not _GLOB.search(pattern)


def naming(name: str) -> str:
    """The pattern that names one layer and no other, whatever characters its name holds."""
    return name if is_name(name) else f"re:{re.escape(name)}\\Z"


def matcher(pattern: str) -> Callable[[Layer], bool]:
    """A test for one pattern. Raises RecipeError on a broken regular expression or depth range."""
    if pattern in WORDS:
        return WORDS[pattern]
    if pattern.startswith("role:"):
        role = re.compile(fnmatch.translate(pattern[5:]))
        return lambda layer: role.match(layer.role) is not None
    if pattern.startswith("depth:"):
        first, last = _depths(pattern)
        return lambda layer: layer.depth is not None and first <= layer.depth <= last
    if pattern.startswith("re:"):
        return _by_name(_compiled(pattern))
    if _GLOB.search(pattern):
        return _by_name(re.compile(fnmatch.translate(pattern)))
    return lambda layer: pattern in (layer.name, layer.tensor.name)


class LayerMatcher:
    """Layers made ready to be matched against many lists of patterns."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._by_name: dict[str, list[int]] = {}
        for index, layer in enumerate(layers):
            self._by_name.setdefault(layer.name, []).append(index)
            if layer.tensor.name != layer.name:
                self._by_name.setdefault(layer.tensor.name, []).append(index)

    def find(self, patterns: Iterable[str]) -> tuple[set[int], tuple[str, ...]]:
        """Indices of the layers that any pattern matches, and the patterns that match nothing."""
        found: set[int] = set()
        unmatched: list[str] = []
        for pattern in patterns:
            if is_name(pattern):
                hits: Sequence[int] = self._by_name.get(pattern, ())
            else:
                test = matcher(pattern)
                hits = [index for index, layer in enumerate(self._layers) if test(layer)]
            if not hits:
                unmatched.append(pattern)
            found.update(hits)
        return found, tuple(unmatched)


def matching(patterns: Iterable[str], layers: Sequence[Layer]) -> tuple[set[int], tuple[str, ...]]:
    """As `Matching.find`, for one list of patterns."""
    return LayerMatcher(layers).find(patterns)


def _by_name(expression: re.Pattern[str]) -> Callable[[Layer], bool]:
    return lambda layer: bool(expression.match(layer.name) or expression.match(layer.tensor.name))


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern[3:])
    except re.error as error:
        raise RecipeError(
            f"The pattern is not a valid regular expression: {error}", where=pattern, remedy="Correct it."
        ) from error


def _depths(pattern: str) -> tuple[int, int]:
    found = re.fullmatch(r"depth:(\d+)(?:-(\d+))?", pattern)
    if found is None:
        raise RecipeError("A depth is a number or a range", where=pattern, remedy="For example depth:0-3.")
    first = int(found[1])
    return first, int(found[2]) if found[2] else first
