"""The gain of a norm moves into the linear layers that read it."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from benchvise.core.transforms.coupling import CoupledGroup, Structure

_MIN_GAIN = 1e-4


def fold_norms(structure: Structure, root: nn.Module, tied: Collection[str] = ()) -> tuple[str, ...]:
    """Fold every norm that can be, float32, in place; why the others cannot, as sentences.

    tied: readers that share their weight with an embedding, which must not change.
    """
    notes = []
    for group in structure.groups:
        if not group.norm or structure.norms[group.source].offset is None:
            continue
        if any(consumer.name in tied for consumer in group.consumers):
            notes.append(f"{group.source} is not folded: the head that reads it shares its weight with the embedding")
        elif not fold(structure, root, group):
            notes.append(f"{group.source} is not folded: its bias has no place in the layers behind a gain near 0")
    return tuple(notes)


def fold(structure: Structure, root: nn.Module, group: CoupledGroup) -> bool:
    """Move the norm's gain into its readers, float32, in place. False and nothing done where that is impossible.

    The bias goes along where every reader has one; otherwise it stays, divided by the gain, which must not be near 0.
    """
    norm = structure.norm(root, group.source)
    gain, bias = norm.gain, norm.bias
    if gain is None:
        return True
    readers = [structure.linear(root, consumer.name) for consumer in group.consumers]
    if bias is not None and bool(bias.any()):
        if all(reader.bias is not None for reader in readers):
            for reader in readers:
                if reader.bias is not None:
                    reader.bias.add_(reader.matrix @ bias)
            bias.zero_()
        elif float(gain.abs().min()) > _MIN_GAIN * float(gain.abs().max()):
            bias.div_(gain)
        else:
            return False
    for reader in readers:
        reader.scale_inputs(gain)
    norm.set_gain(torch.ones_like(gain))
    return True
