"""Depth pruning: blocks leave, those behind them are renumbered, and the config counts fewer.

Source: ShortGPT, arXiv 2403.03853.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import RecipeError
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.settings import indices_text
from benchvise.core.surgery.blocks import Stack, stack_of
from benchvise.core.surgery.derived import Derived
from benchvise.core.surgery.operation import Operation

_LEADING = ("max_window_layers", "first_k_dense_replace")
"""Numbers in configs that say how many of the first blocks are of one kind."""

_NUMBERS = ("mlp_only_layers", "cross_attention_layers", "moe_layers", "full_attn_idxs")
"""Lists in configs that hold numbers of blocks."""


class BlockDropping(Operation[DropBlocks]):
    """Blocks that stay keep their bytes where they lie; only names and the config change."""

    def plan(self, checkpoint: Checkpoint, settings: DropBlocks) -> Derived:
        """The checkpoint without the blocks; the checkpoint itself where none is named.

        Raises RecipeError for all of them, numbers that there are not, tensors that blocks share, and checkpoints whose
        blocks cannot be told from their headers.
        """
        if not settings.blocks:
            return Derived(checkpoint, checkpoint, tuple(range(len(checkpoint.layers))))
        stack = stack_of(checkpoint, DropBlocks.key)
        left = _left(checkpoint, stack, settings.blocks)
        places = {old: new for new, old in enumerate(left)}
        origins: list[int] = []
        layers: list[Layer] = []
        for index, layer in enumerate(checkpoint.layers):
            old = stack.number(layer.tensor.name)
            _refuse_shared(checkpoint, stack, layer)
            if old is None or old in places:
                origins.append(index)
                layers.append(layer if old is None else _moved(layer, stack, places[old]))
        config = _edited(checkpoint.config, stack, left)
        return Derived(checkpoint, replace(checkpoint, layers=tuple(layers), config=config), tuple(origins))


def _left(checkpoint: Checkpoint, stack: Stack, dropped: Sequence[int]) -> list[int]:
    where = f"{checkpoint.path}, surgery {DropBlocks.key}"
    known = f"The network has blocks 0 to {stack.count - 1}."
    beyond = [number for number in dropped if number >= stack.count]
    if beyond:
        raise RecipeError(f"There is no block {indices_text(beyond)}", where=where, remedy=known)
    left = [number for number in range(stack.count) if number not in set(dropped)]
    if not left:
        raise RecipeError("All blocks would be dropped", where=where, remedy="Leave at least one block in.")
    return left


def _refuse_shared(checkpoint: Checkpoint, stack: Stack, layer: Layer) -> None:
    own = stack.number(layer.tensor.name)
    others = [name for name in layer.tied if stack.number(name) != own]
    if others and (own is not None or any(stack.number(name) is not None for name in others)):
        raise RecipeError(
            f"'{layer.name}' is shared with {', '.join(others[:3])}, so its block cannot be moved or dropped alone",
            where=checkpoint.path,
            remedy="Take 'drop_blocks' out of the recipe's surgery.",
        )


def _moved(layer: Layer, stack: Stack, number: int) -> Layer:
    """The layer in block `number`: the same bytes of the same file under another name."""
    tensor = replace(layer.tensor, name=stack.renumbered(layer.tensor.name, number))
    tied = tuple(stack.renumbered(name, number) for name in layer.tied)
    name = stack.renumbered(layer.name, number) if stack.number(f"{layer.name}.") is not None else layer.name
    return replace(layer, name=name, tensor=tensor, tied=tied, depth=None if layer.depth is None else number)


def _edited(config: dict[str, object], stack: Stack, left: Sequence[int]) -> dict[str, object]:
    if stack.part:
        nested = config[stack.part]
        assert isinstance(nested, dict)
        return config | {stack.part: _edited(nested, replace(stack, part=""), left)}
    places = {old: new for new, old in enumerate(left)}
    edited = dict(config)
    for key, value in config.items():
        if key == stack.key:
            edited[key] = len(left)
        elif key in _LEADING and isinstance(value, int):
            edited[key] = sum(old < value for old in left)
        elif key in _NUMBERS and isinstance(value, list):
            edited[key] = [places[old] for old in value if old in places]
        elif isinstance(value, list) and len(value) == stack.count and ("layer" in key or "block" in key):
            edited[key] = [value[old] for old in left]
    return edited
