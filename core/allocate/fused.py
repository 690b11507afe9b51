"""Layers that runtimes compute in one piece, and so need the same treatment."""

from __future__ import annotations

from collections.abc import Sequence

from benchvise.core.checkpoint.records import Layer

FUSED_ROLES = (("attention.q", "attention.k", "attention.v"), ("mlp.gate", "mlp.up"))


def fused_groups(layers: Sequence[Layer]) -> tuple[tuple[int, ...], ...]:
    """Indices of layers of one module that are fused; only groups of several layers of equally many inputs."""
    groups: dict[tuple[str, int, int], list[int]] = {}
    for index, layer in enumerate(layers):
        for number, roles in enumerate(FUSED_ROLES):
            if layer.role in roles:
                parent = layer.name.rpartition(".")[0]
                groups.setdefault((parent, number, layer.matrix_shape[1]), []).append(index)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)
