"""The shipped recipes, and the order in which they are offered."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

from benchvise.core.checkpoint.records import Kind, Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.language import message
from benchvise.core.recipe.bit_choices import bit_choices
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.recipe import KEEP, Recipe, parse_recipe
from benchvise.core.recipe.resolve import resolve
from benchvise.core.settings import did_you_mean

REFERENCE_MODEL = "a Llama of 1.2 billion weights"
_BLOCKS, _WIDTH, _HIDDEN, _KEYS, _VOCABULARY = 16, 2048, 8192, 512, 128256
_LINEAR_LAYERS = (
    ("self_attn.q_proj", "attention.q", (_WIDTH, _WIDTH)),
    ("self_attn.k_proj", "attention.k", (_KEYS, _WIDTH)),
    ("self_attn.v_proj", "attention.v", (_KEYS, _WIDTH)),
    ("self_attn.o_proj", "attention.o", (_WIDTH, _WIDTH)),
    ("mlp.gate_proj", "mlp.gate", (_HIDDEN, _WIDTH)),
    ("mlp.up_proj", "mlp.up", (_HIDDEN, _WIDTH)),
    ("mlp.down_proj", "mlp.down", (_WIDTH, _HIDDEN)),
)
_SIZES = (
    (2.75, message("About 2 bits")),
    (3.75, message("About 3 bits")),
    (6.5, message("About 4 bits")),
    (math.inf, message("About 8 bits")),
)
_LayerKind = tuple[int, tuple[int, ...], str, bool]
_PRUNING = message("Pruning")
_BLOCK_TYPES, _MIXES, _OF_BLOCK_TYPES = message("GGUF types"), message("GGUF mixes"), "gguf-"


@dataclass(frozen=True)
class Preset:
    """A shipped recipe as menus and lists show it.

    bits_per_weight: in compressed layers, all rules counted. bits_overall: over all weights of the model.
    """

    recipe: Recipe
    bits_per_weight: float
    bits_overall: float

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def group(self) -> str:
        """Presets of about one size, which is what a person chooses first; pruning, GGUF's types and mixes apart."""
        schemes = {rule.treatment.scheme for rule in self.recipe.rules}
        if all("mask" in scheme.capabilities for scheme in schemes):
            return _PRUNING
        if self.name.startswith(_OF_BLOCK_TYPES):
            return _MIXES if len(schemes) > 1 else _BLOCK_TYPES
        return next(group for most, group in _SIZES if self.bits_per_weight < most)


@lru_cache(maxsize=4)
def presets(layers: tuple[Layer, ...] = ()) -> tuple[Preset, ...]:
    """All of them: large before small; in a group those that need no calibration first, then by name. Types by size.

    layers: of the checkpoint whose bits are counted; without any, those of the reference model.
    """
    counted = layers or tuple(_reference_layers())
    made = [Preset(recipe, *_bits(recipe, counted)) for recipe in map(load_preset, preset_names())]
    groups = [*(group for _, group in reversed(_SIZES)), _PRUNING, _BLOCK_TYPES, _MIXES]

    def place(preset: Preset) -> tuple[int, bool, float]:
        size = -preset.bits_per_weight if preset.group in (_BLOCK_TYPES, _MIXES) else 0.0
        return groups.index(preset.group), preset.recipe.needs_calibration, size

    return tuple(sorted(made, key=place))


@cache
def preset_names() -> tuple[str, ...]:
    """Names of the shipped recipes, sorted."""
    folder = files("benchvise.resources") / "presets"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


@cache
def load_preset(name: str) -> Recipe:
    """A shipped recipe by name. Raises RecipeError with the nearest name."""
    known = preset_names()
    if name not in known:
        raise RecipeError(f"There is no preset '{name}'", remedy=did_you_mean(name, known))
    text = (files("benchvise.resources") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_recipe(text, where=f"preset {name}")


def _bits(recipe: Recipe, layers: tuple[Layer, ...]) -> tuple[float, float]:
    """Bits per weight in compressed layers and over all. A layer that a treatment does not fit counts as kept."""
    rules = resolve(recipe.rules, layers).rules
    kinds: Counter[_LayerKind] = Counter()
    samples: dict[_LayerKind, Layer] = {}
    for rule, layer in zip(rules, layers, strict=True):
        kind = (rule if layer.compressible else -1, layer.shape, layer.dtype, layer.transposed)
        kinds[kind] += 1
        samples.setdefault(kind, layer)
    compressed, overall = [0.0, 0.0], [0.0, 0.0]
    for kind, count in kinds.items():
        layer = samples[kind]
        decider = recipe.rules[kind[0]] if kind[0] >= 0 else None
        treatment = decider.treatment if decider is not None else KEEP
        try:
            nbytes = float(fitted(treatment, layer)[0].bytes_after(layer))
        except RecipeError:
            treatment, nbytes = KEEP, layer.nbytes
        else:
            if decider is not None and decider.budget is not None:
                nbytes = max(decider.budget, _least(recipe, kind[0], kinds, samples)) * layer.parameters / 8
        for total in (overall,) if treatment.keeps else (overall, compressed):
            total[0] += count * nbytes
            total[1] += count * layer.parameters
    every = 8 * overall[0] / max(1, overall[1])
    return (8 * compressed[0] / compressed[1] if compressed[1] else every), every


def _least(recipe: Recipe, number: int, kinds: Counter[_LayerKind], samples: Mapping[_LayerKind, Layer]) -> float:
    """Bits per weight of the fewest bytes that the layers of a rule can take."""
    asked, least, weights = recipe.rules[number].treatment, 0, 0
    for kind, count in kinds.items():
        if kind[0] == number:
            with suppress(RecipeError):
                least += count * bit_choices(asked, samples[kind])[0].bytes_after(samples[kind])
                weights += count * samples[kind].parameters
    return 8 * least / max(1, weights)


def _reference_layers() -> Iterator[Layer]:
    yield _layer("model.embed_tokens", "embedding", "embedding", None, (_VOCABULARY, _WIDTH))
    for block in range(_BLOCKS):
        for name, role, shape in _LINEAR_LAYERS:
            yield _layer(f"model.layers.{block}.{name}", role, "linear", block, shape)


def _layer(name: str, role: str, kind: Kind, depth: int | None, shape: tuple[int, int]) -> Layer:
    entry = TensorEntry(f"{name}.weight", "bfloat16", shape, "", 0, 2 * shape[0] * shape[1])
    return Layer(name, entry, role, kind, depth)
