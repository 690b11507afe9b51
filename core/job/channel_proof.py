"""Whether the channels that a surgery takes out are what it takes them for: tried on random copies of blocks.

A block whose reader has zeros for the channels that go, and the narrower block with the slices that stay, must give the
same. What holds for random weights holds for all.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchvise.core.errors import RecipeError
from benchvise.core.evaluate.blocks import find_blocks
from benchvise.core.surgery.derived import ChannelGroup, Cut, Derived
from benchvise.core.transforms.linear import close
from benchvise.core.transforms.model_structure import kind_of
from benchvise.core.transforms.random_copy import FAULTS, PassThroughCopy, RandomCopy, random_copy, run_block

Names = Mapping[str, str | None]
"""The parameter of the network that each layer is, by the layers' names."""


def prove_channels(step: Derived, before: nn.Module, after: nn.Module, names: Names) -> None:
    """Try each kind of block once. before, after: the networks without values; names: of the layers in both.

    Raises RecipeError where a block cannot be tried, or would compute something else.
    """
    blocks = find_blocks(before)
    if blocks is None:
        raise _refused(step, f"The blocks of a {type(before).__name__} cannot be told apart")
    narrow = after.get_submodule(blocks.path)
    grouped = _by_block(step, names, blocks.path)
    known: set[str] = set()
    try:
        stand_ins = PassThroughCopy(before, blocks.modules).stand_ins
        for number, block in enumerate(blocks.modules):
            left = narrow.get_submodule(str(number))
            kind = f"{kind_of(block)} {kind_of(left)}"
            if kind in known:
                continue
            known.add(kind)
            whole = RandomCopy(block, stand_ins[number].args, stand_ins[number].kwargs)
            _cut(step, whole.block, left := random_copy(left), grouped.get(number, {}))
            given = run_block(left, whole.hidden, stand_ins[number].args, stand_ins[number].kwargs)
            if not close(given, whole()):
                raise _refused(
                    step, f"Block {number} would compute something else: its channels are used in other ways"
                )
    except FAULTS as error:
        said = str(error).strip()[:200]
        raise _refused(
            step, f"A {type(blocks.modules[0]).__name__} cannot be tried on made-up inputs ({said})"
        ) from error


def _by_block(step: Derived, names: Names, path: str) -> dict[int, dict[str, tuple[ChannelGroup, str]]]:
    """By the block, and the name of the parameter in it, the group and the layer."""
    found: dict[int, dict[str, tuple[ChannelGroup, str]]] = {}
    for group in step.groups:
        for layer in (*group.producers, group.reader):
            name = names[layer]
            if name is None or not name.startswith(f"{path}."):
                raise _refused(step, f"'{layer}' is no parameter of a block on its own")
            number, _, rest = name[len(path) + 1 :].partition(".")
            found.setdefault(int(number), {})[rest] = group, layer
    return found


def _cut(step: Derived, whole: nn.Module, left: nn.Module, layers: Mapping[str, tuple[ChannelGroup, str]]) -> None:
    """Give the narrow block the slices that stay, and the whole one's reader zeros for those that go."""
    for name, buffer in left.named_buffers():
        buffer.copy_(whole.get_buffer(name))
    for name, parameter in left.named_parameters():
        values = whole.get_parameter(name).data
        if name in layers:
            group, layer = layers[name]
            (cut,) = step.cuts[layer]
            kept = _some(group)
            rows = kept if layer == group.reader else torch.tensor(group.outputs(kept.tolist()))
            if layer == group.reader:
                _without(values, cut, kept)
            values = values.index_select(cut.dimension, rows)
        parameter.data.copy_(values)


def _some(group: ChannelGroup) -> Tensor:
    """As many channels as will stay, at random, int64 ascending."""
    every = torch.randperm(group.width, generator=torch.Generator().manual_seed(6))
    return every[: group.count].sort().values


def _without(values: Tensor, cut: Cut, kept: Tensor) -> None:
    going = torch.ones(values.shape[cut.dimension], dtype=torch.bool)
    going[kept] = False
    values.index_fill_(cut.dimension, going.nonzero()[:, 0], 0.0)


def _refused(step: Derived, why: str) -> RecipeError:
    return RecipeError(
        f"It cannot be proven that feed-forward channels can be taken out of this network. {why}",
        where=step.source.path,
        remedy="Take the surgery out of the recipe.",
    )
