"""What writes to the residual stream and what reads it, and the proof that it can be turned.

Proven on a random copy: with its norms folded, its readers and writers turned, a block must turn what it gives exactly
as its input was turned; and what lies around the blocks must give the same outputs and hand a turned hidden state in.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from benchvise.core.transforms.coupling import CoupledGroup, Structure
from benchvise.core.transforms.fold_norms import fold_norms
from benchvise.core.transforms.linear import bias_of, close
from benchvise.core.transforms.random_copy import PassThroughCopy, RandomCopy, tried
from benchvise.core.transforms.rotation import Rotation

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Residual:
    """What to turn with the residual stream of `width` channels; modules and parameters by name.

    writers:      linear layers whose outputs are added to it.
    convolutions: the same, as patch embeddings.
    tables:       parameters [..., width]: embedding tables, class tokens, positions.
    refusal:      why it cannot be turned, as a phrase; "" when that is proven.
    """

    width: int
    writers: tuple[str, ...]
    convolutions: tuple[str, ...]
    tables: tuple[str, ...]
    centred: bool
    refusal: str = ""


def block_residual(structure: Structure, random_copy: RandomCopy) -> Residual:
    """What to turn in a block."""
    found = _candidates(structure, random_copy.block, random_copy.hidden.shape[-1], tables=False)
    turn = Rotation(found.width, 6, keeps_mean=found.centred)
    expected = turn(random_copy())
    with torch.no_grad(), tried(random_copy.block):
        fold_norms(structure, random_copy.block)
        turn_residual(structure, random_copy.block, found, turn)
        if close(random_copy(turn(random_copy.hidden)), expected):
            return found
    return _refused(found, _reason(structure, random_copy.block, found.width))


def outer_residual(structure: Structure, stage: PassThroughCopy) -> Residual:
    """What to turn around the blocks."""
    found = _candidates(structure, stage.model, stage.width, tables=True)
    turn = Rotation(found.width, 6, keeps_mean=found.centred)
    expected, hidden = stage(), turn(stage.hidden)
    with torch.no_grad(), tried(stage.model):
        fold_norms(structure, stage.model)
        turn_residual(structure, stage.model, found, turn)
        if close(stage(), expected) and close(stage.hidden, hidden):
            return found
    return _refused(found, "what lies around the blocks does not keep its outputs")


def turn_residual(structure: Structure, root: nn.Module, residual: Residual, turn: Rotation) -> None:
    """Turn what reads and what writes, in place; a tensor shared by two of them once. Gains must be constant by now."""
    tables = {root.get_parameter(name).data_ptr(): root.get_parameter(name).data for name in residual.tables}
    for table in tables.values():
        table.copy_(turn(table))
    for name in residual.convolutions:
        _turn_convolution(root.get_submodule(name), turn)
    for name in residual.writers:
        linear = structure.linear(root, name)
        linear.rotate_outputs(torch.arange(residual.width, device=linear.matrix.device), turn)
    for group in residual_feeds(structure, residual.width):
        bias = structure.norm(root, group.source).bias
        if bias is not None:
            bias.copy_(turn(bias))
        for consumer in group.consumers:
            linear = structure.linear(root, consumer.name)
            if linear.matrix.data_ptr() not in tables:
                linear.rotate_inputs(turn)


def _turn_convolution(module: nn.Module, turn: Rotation) -> None:
    weight, shift = module.get_parameter("weight").data, bias_of(module)
    weight.copy_(turn(weight.reshape(len(weight), -1).T.contiguous()).T.reshape(weight.shape))
    if shift is not None:
        shift.copy_(turn(shift))


def residual_feeds(structure: Structure, width: int) -> tuple[CoupledGroup, ...]:
    """Norms over the whole width with what reads them."""
    return tuple(group for group in structure.groups if group.norm and len(group.rows) == width)


def _candidates(structure: Structure, root: nn.Module, width: int, *, tables: bool) -> Residual:
    groups = residual_feeds(structure, width)
    readers = {consumer.name for group in groups for consumer in group.consumers}
    writers = tuple(
        name
        for name in structure.linears
        if name not in readers and structure.linear(root, name).matrix.shape[0] == width
    )
    convolutions = tuple(
        name
        for name, module in root.named_modules()
        if isinstance(module, _CONVOLUTIONS) and module.out_channels == width
    )
    owned = {f"{name}.{part}" for name in (*structure.linears, *structure.norms, *convolutions) for part in _PARTS}
    found = [
        name
        for name, parameter in root.named_parameters(remove_duplicate=False)
        if name not in owned and parameter.dim() > 1 and parameter.shape[-1] == width
    ]
    centred = any(structure.norms[group.source].centred for group in groups)
    return Residual(width, writers, convolutions, tuple(found) if tables else (), centred)


_PARTS = ("weight", "bias")


def _refused(found: Residual, reason: str) -> Residual:
    return Residual(found.width, found.writers, found.convolutions, found.tables, found.centred, reason)


def _reason(structure: Structure, block: nn.Module, width: int) -> str:
    reading = {group.source for group in structure.groups if group.norm}
    others = [
        name
        for name, form in structure.norms.items()
        if name not in reading
        and form.offset is not None
        and structure.norm(block, name).module.weight.shape == (width,)
    ]
    if others:
        return f"{' and '.join(others)} {'is' if len(others) == 1 else 'are'} not read by linear layers alone"
    return "a block does not keep its output"
