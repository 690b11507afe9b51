"""Stacks of blocks in a checkpoint, found by the numbers in its tensors' names and by what its config counts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import RecipeError

COUNTS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers", "encoder_layers", "decoder_layers",
)  # fmt: skip
"""What configs call the number of blocks, first those that most do."""

_NUMBERED = re.compile(r"(?:^|(?<=\.))(\d+)(?=\.)")


@dataclass(frozen=True)
class Stack:
    """The blocks that a config counts.

    prefix: of their tensors, up to the number ("model.layers."). count: how many blocks there are.
    part:   the key of the nested config that counts them, "" for the config itself. key: what it calls their number.
    """

    prefix: str
    count: int
    part: str
    key: str

    def number(self, name: str) -> int | None:
        """The block that the named tensor belongs to; None for one outside the stack."""
        if not name.startswith(self.prefix):
            return None
        found = _NUMBERED.match(name, len(self.prefix))
        return int(found[1]) if found else None

    def renumbered(self, name: str, number: int) -> str:
        """The name of the same tensor in block `number`."""
        rest = name[len(self.prefix) :].partition(".")[2]
        return f"{self.prefix}{number}.{rest}"


def stack_of(checkpoint: Checkpoint, surgery: str) -> Stack:
    """The one stack of blocks that the checkpoint's config counts.

    Raises RecipeError where there is no such one; `surgery` is the key of what asks for it.
    """
    if not checkpoint.config:
        raise _refused(
            checkpoint,
            surgery,
            "Without a config.json nothing says which tensors are the network's blocks, or counts them",
        )
    sizes = _stacks(checkpoint)
    found = [
        Stack(prefix, count, part, key)
        for part, config in config_parts(checkpoint.config).items()
        for key in COUNTS
        for prefix, count in sizes.items()
        if config.get(key) == count
    ]
    prefixes = sorted({stack.prefix for stack in found})
    if len(prefixes) == 1:
        return found[0]
    if prefixes:
        raise _refused(checkpoint, surgery, f"The network has several stacks of blocks: {', '.join(prefixes)}")
    parts = config_parts(checkpoint.config).values()
    counted = [f"{key} {config[key]}" for config in parts for key in COUNTS if key in config]
    stored = [f"{count} under {prefix!r}" for prefix, count in sizes.items()]
    raise _refused(
        checkpoint,
        surgery,
        f"The config counts {' and '.join(counted) or 'no blocks'}, and the weights hold "
        f"{', '.join(stored) or 'none'}: blocks are shared, or laid out in another way",
    )


def config_parts(config: dict[str, object]) -> dict[str, dict[str, object]]:
    """The config itself, under "", and the nested one of the language model where there is one."""
    nested = {key: part for key in ("text_config", "decoder") if isinstance(part := config.get(key), dict)}
    return {"": config, **nested}


def _stacks(checkpoint: Checkpoint) -> dict[str, int]:
    """By prefix, how many blocks there are, for prefixes whose blocks are numbered from 0 without gaps."""
    numbers: dict[str, set[int]] = {}
    for layer in checkpoint.layers:
        for name in (layer.tensor.name, *layer.tied):
            found = _NUMBERED.search(name)
            if found is not None:
                numbers.setdefault(name[: found.start(1)], set()).add(int(found[1]))
    return {prefix: len(found) for prefix, found in numbers.items() if found == set(range(len(found)))}


def _refused(checkpoint: Checkpoint, surgery: str, why: str) -> RecipeError:
    return RecipeError(why, where=checkpoint.path, remedy=f"Take '{surgery}' out of the recipe's surgery.")
