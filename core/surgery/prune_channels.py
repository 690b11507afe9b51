"""Width pruning of feed-forward parts: which tensors lose which of their slices, told from config and shapes.

What is told here is proven on random copies before a run; which channels stay is found in the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from benchvise.core.checkpoint.records import DTYPE_BITS, Checkpoint, Layer
from benchvise.core.errors import RecipeError
from benchvise.core.methods.prune_channels import PruneChannels
from benchvise.core.settings import to_mapping
from benchvise.core.surgery.blocks import Stack, config_parts, stack_of
from benchvise.core.surgery.derived import ChannelGroup, Cut, Derived, cut_identity
from benchvise.core.surgery.operation import Operation

WIDTHS = (
    "intermediate_size", "ffn_dim", "n_inner", "d_ff", "ffn_hidden_size", "encoder_ffn_dim", "decoder_ffn_dim",
    "feed_forward_dim", "hidden_dim", "mlp_dim",
)  # fmt: skip
"""What configs call the number of inner channels, first those that most do."""

_WIDE = 4
"""Times the width of the network: what configs that leave `n_inner` empty mean."""


class ChannelPruning(Operation[PruneChannels]):
    """Producers of the channels lose outputs and biases, the one layer that reads them loses inputs."""

    def plan(self, checkpoint: Checkpoint, settings: PruneChannels) -> Derived:
        """The checkpoint with narrower feed-forward parts; the checkpoint itself where none is to go.

        Raises RecipeError for a share of 1, tensors that blocks share, mixtures of experts, blocks of different widths,
        and checkpoints whose feed-forward parts cannot be told from config and shapes.
        """
        if settings.share >= 1:
            raise RecipeError(
                "All channels would be removed",
                where=f"{checkpoint.path}, surgery {PruneChannels.key}",
                remedy="Give a share below 1.",
            )
        stack = stack_of(checkpoint, PruneChannels.key)
        key, width = _width(checkpoint, stack)
        count = settings.left(width)
        if count == width:
            return Derived(checkpoint, checkpoint, tuple(range(len(checkpoint.layers))))
        groups = tuple(
            _group(checkpoint, number, layers, width, count) for number, layers in _blocks(checkpoint, stack)
        )
        cuts = {name: each for group in groups for name, each in _cuts(checkpoint, group).items()}
        identity = json.dumps(to_mapping(settings), sort_keys=True)
        layers = tuple(_narrowed(layer, cuts.get(layer.name, ()), identity) for layer in checkpoint.layers)
        left = replace(checkpoint, layers=layers, config=_edited(checkpoint.config, stack.part, key, count))
        return Derived(checkpoint, left, tuple(range(len(layers))), cuts, groups)


def _width(checkpoint: Checkpoint, stack: Stack) -> tuple[str, int]:
    """What the config calls the number of inner channels, and that number."""
    config = config_parts(checkpoint.config)[stack.part]
    for key in WIDTHS:
        value = config.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return key, value
    width = config.get("n_embd")
    if isinstance(width, int) and config.get("n_inner") is None:
        return "n_inner", _WIDE * width
    raise _refused(checkpoint, f"The config says of no feed-forward part how wide it is ({', '.join(WIDTHS)})")


def _blocks(checkpoint: Checkpoint, stack: Stack) -> list[tuple[int, list[Layer]]]:
    found: dict[int, list[Layer]] = {number: [] for number in range(stack.count)}
    for layer in checkpoint.layers:
        number = stack.number(layer.tensor.name)
        if number is not None:
            found[number].append(layer)
    return list(found.items())


def _group(checkpoint: Checkpoint, number: int, layers: Sequence[Layer], width: int, count: int) -> ChannelGroup:
    """The layers of one block that give or read its inner channels."""
    readers = [layer for layer in layers if _is_matrix(layer) and layer.matrix_shape[1] == width]
    for parts in (1, 2):
        producers = [layer for layer in layers if _outputs(layer) == parts * width]
        if any(_is_matrix(layer) for layer in producers):
            break
    matrices = [layer for layer in producers if _is_matrix(layer)]
    shared = [layer.name for layer in (*readers, *producers) if layer.tied]
    if not readers or not matrices:
        raise _refused(checkpoint, f"Block {number} has no layers that give and read {width} channels")
    if len(readers) > 1 or any(layer.routed_expert for layer in (*readers, *matrices)):
        names = ", ".join(layer.name for layer in readers[:3])
        raise _refused(checkpoint, f"In block {number} several layers read {width} channels, as experts do: {names}")
    if readers[0] in matrices:
        raise _refused(checkpoint, f"'{readers[0].name}' has as many inputs as outputs: {width}")
    if shared:
        raise _refused(checkpoint, f"'{shared[0]}' is shared with another layer, which would be cut with it")
    return ChannelGroup(tuple(layer.name for layer in producers), readers[0].name, width, count, parts)


def _is_matrix(layer: Layer) -> bool:
    return len(layer.shape) == 2


def _outputs(layer: Layer) -> int:
    return layer.matrix_shape[0] if _is_matrix(layer) else layer.shape[0] if len(layer.shape) == 1 else 0


def _cuts(checkpoint: Checkpoint, group: ChannelGroup) -> Mapping[str, tuple[Cut, ...]]:
    reader = checkpoint.layer(group.reader)
    cuts = {group.reader: (Cut(0 if reader.transposed else 1, group.count),)}
    for name in group.producers:
        layer = checkpoint.layer(name)
        dimension = 1 if layer.transposed and _is_matrix(layer) else 0
        cuts[name] = (Cut(dimension, group.parts * group.count),)
    return cuts


def _narrowed(layer: Layer, cuts: tuple[Cut, ...], settings: str) -> Layer:
    if not cuts:
        return layer
    shape = list(layer.shape)
    for cut in cuts:
        shape[cut.dimension] = cut.count
    nbytes = prod(shape) * DTYPE_BITS[layer.dtype] // 8
    identity = cut_identity(cuts, settings)
    tensor = replace(layer.tensor, shape=tuple(shape), nbytes=nbytes, strides=None, encoding=None, cut=identity)
    return replace(layer, tensor=tensor)


def _edited(config: dict[str, object], part: str, key: str, count: int) -> dict[str, object]:
    if not part:
        return config | {key: count}
    nested = config[part]
    assert isinstance(nested, dict)
    return config | {part: nested | {key: count}}


def _refused(checkpoint: Checkpoint, why: str) -> RecipeError:
    return RecipeError(why, where=checkpoint.path, remedy=f"Take '{PruneChannels.key}' out of the recipe's surgery.")
