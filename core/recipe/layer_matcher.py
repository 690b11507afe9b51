"""Which layers a rule's patterns name.

A pattern is one of:
  a word:      `linears` (linear layers except the output head and routers), `embeddings`, `convolutions`, `all`,
               `output-head` (the output head, or the embedding that it shares);
  `role:GLOB`  the layer's role, e.g. `role:attention.*`, `role:lm_head`;
  `depth:A-B`  blocks A to B, or `depth:A`; `depth:1/8` the first eighth of the blocks; `depth:more-bits` the first and
               the last eighth and every third between, which the mixes of llama.cpp give more bits;
  `re:REGEX`   found at the start of the layer's or tensor's name, as `re.match`;
  otherwise    a layer's or tensor's name, or a glob over it (`*` also matches dots).

Patterns joined by ` & ` name the layers that all of them name.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Container, Iterable, Sequence

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import RecipeError

# A router weighs nothing, and each of its errors sends tokens to other experts.
_BY_NAME_ONLY = frozenset({"lm_head", "mlp.router"})

WORDS: dict[str, Callable[[Layer], bool]] = {
    "linears": lambda layer: layer.kind == "linear" and layer.role not in _BY_NAME_ONLY,
    "embeddings": lambda layer: layer.kind == "embedding",
    "convolutions": lambda layer: layer.kind == "conv",
    "all": lambda _: True,
    "output-head": lambda layer: "lm_head" in (layer.role, *layer.tied),
}

_AND = " & "
_SHARE = re.compile(r"depth:(\d+/\d+|more-bits)")
_GLOB = re.compile(r"[*?\[]")


def block_count(layers: Iterable[Layer]) -> int:
    """How many blocks the layers come from."""
    return 1 + max((layer.depth for layer in layers if layer.depth is not None), default=-1)


def is_name(pattern: str) -> bool:
    """True for a pattern that is a layer's or tensor's name itself."""
    return pattern not in WORDS and ":" not in pattern and not _GLOB.search(pattern)


def naming(name: str) -> str:
    """The pattern that names one layer and no other, whatever characters its name holds."""
    return name if is_name(name) else f"re:{re.escape(name)}\\Z"


def matcher(pattern: str, blocks: int = 0) -> Callable[[Layer], bool]:
    """A test for one pattern; blocks: how many the network has, for depths that are shares of them.

    Raises RecipeError on a broken regular expression or depth range.
    """
    if _AND in pattern:
        tests = [matcher(part, blocks) for part in pattern.split(_AND)]
        return lambda layer: all(test(layer) for test in tests)
    if pattern in WORDS:
        return WORDS[pattern]
    if pattern.startswith("role:"):
        role = re.compile(fnmatch.translate(pattern[5:]))
        return lambda layer: role.match(layer.role) is not None
    if pattern.startswith("depth:"):
        depths = _depths(pattern, blocks)
        return lambda layer: layer.depth is not None and layer.depth in depths
    if pattern.startswith("re:"):
        return _by_name(_compiled(pattern))
    if _GLOB.search(pattern):
        return _by_name(re.compile(fnmatch.translate(pattern)))
    return lambda layer: pattern in (layer.name, layer.tensor.name)


class LayerMatcher:
    """Layers made ready to be matched against many lists of patterns."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = layers
        self._blocks = block_count(layers)
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
                test = matcher(pattern, self._blocks)
                hits = [index for index, layer in enumerate(self._layers) if test(layer)]
            # A share of few blocks may be none of them, without being misspelt.
            if not hits and not (self._blocks and _SHARE.search(pattern)):
                unmatched.append(pattern)
            found.update(hits)
        return found, tuple(unmatched)


def matching(patterns: Iterable[str], layers: Sequence[Layer]) -> tuple[set[int], tuple[str, ...]]:
    """As `LayerMatcher.find`, for one list of patterns."""
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


def _depths(pattern: str, blocks: int) -> Container[int]:
    if pattern == "depth:more-bits":
        eighth = blocks // 8
        between = range(eighth + 2, blocks, 3)
        return {*range(eighth), *range(7 * blocks // 8, blocks), *between}
    found = re.fullmatch(r"depth:(\d+)(?:-(\d+)|/([1-9]\d*))?", pattern)
    if found is None:
        raise RecipeError("A depth is a number, a range or a share", where=pattern, remedy="For example depth:0-3.")
    first = int(found[1])
    if found[3]:
        return range(first * blocks // int(found[3]))
    return range(first, (int(found[2]) if found[2] else first) + 1)
