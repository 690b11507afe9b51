"""What an export will write, known before anything is: every tensor with its dtype and shape, and every departure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from core.checkpoint.records import Checkpoint, Layer
from core.checkpoint.safetensors_writer import Declared
from core.checkpoint.tying import tied_head
from core.export.compressed_layout import layout_of, layout_tensors, widened
from core.export.targets import CompressedTensors, Target
from core.methods.integer import Integer
from core.weights.weights import Weights

MAX_NAMED = 5


@dataclass(frozen=True)
class Part:
    """One layer as it will be written: packed under `scheme`, or dense when that is None.

    copies: names under which the dense tensor is written too, since no config ties them.
    """

    layer: Layer
    scheme: Integer | None
    copies: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of a dense layer's tensors."""
        return (self.layer.tensor.name, *self.copies)

    def tensors(self) -> tuple[Declared, ...]:
        if self.scheme is not None:
            return layout_tensors(self.layer, self.scheme)
        return tuple(Declared(name, self.layer.dtype, self.layer.shape) for name in self.names)


@dataclass(frozen=True)
class Outline:
    target: str
    checkpoint: Checkpoint
    parts: tuple[Part, ...]
    warnings: tuple[str, ...]

    def tensors(self) -> list[Declared]:
        return [tensor for part in self.parts for tensor in part.tensors()]

    def packed(self) -> dict[str, Integer]:
        return {part.layer.name: part.scheme for part in self.parts if part.scheme is not None}

    def dense_modules(self) -> list[str]:
        """Names of the modules with a matrix that stays dense, tied ones included: what a config has to ignore."""
        return [
            name
            for part in self.parts
            if part.scheme is None and len(part.layer.shape) == 2
            for name in ((part.layer.name,) if part.layer.kind != "embedding" else ()) + part.layer.tied
        ]


def make_outline(weights: Weights, target: Target) -> Outline:
    """Decide for each layer how `target` holds it."""
    head = tied_head(weights.checkpoint.config)
    parts: list[Part] = []
    reasons: dict[str, list[str]] = {}
    wider: dict[str, list[str]] = {}
    for layer in weights.checkpoint.layers:
        treatment = weights.treatment(layer)
        copies = tuple(_tensor_name(layer, tied) for tied in layer.tied if tied != head)
        problem = target.problems(treatment, layer)
        scheme = treatment.scheme
        if problem:
            reasons.setdefault(problem, []).append(f"{layer.name} ({treatment.tag})")
        if problem or target.key != CompressedTensors.key or not isinstance(scheme, Integer):
            parts.append(Part(layer, None, copies))
            continue
        parts.append(Part(layer, scheme))
        if widened(scheme):
            bits = layout_of(scheme).bits
            wider.setdefault(f"{scheme.tag} layers are written with {bits}-bit symmetric codes", []).append(layer.name)
    warnings = (*_written_dense(reasons), *_wider(wider))
    return Outline(target.key, weights.checkpoint, tuple(parts), warnings)


def _tensor_name(layer: Layer, tied: str) -> str:
    return f"{tied}.weight" if layer.tensor.name == f"{layer.name}.weight" else tied


def _written_dense(reasons: dict[str, list[str]]) -> Iterator[str]:
    for reason, names in reasons.items():
        one = len(names) == 1
        yield (
            f"{_named(names)} {'is' if one else 'are'} written dense, with the values computed here, "
            f"in the original dtype: {reason}"
        )


def _wider(layers: dict[str, list[str]]) -> Iterator[str]:
    for what, names in layers.items():
        yield (
            f"{len(names)} {what}, which hold the same values exactly: "
            f"transformers 5.23 refuses packed zero points. First: {_named(names)}"
        )


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
