"""A recipe's surgery on a checkpoint: what is left, from headers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.prune_channels import PruneChannels
from benchvise.core.methods.surgery import Surgery
from benchvise.core.plugins import implementation
from benchvise.core.surgery.derived import Derived, Operated
from benchvise.core.surgery.drop_blocks import BlockDropping
from benchvise.core.surgery.operation import Operation
from benchvise.core.surgery.prune_channels import ChannelPruning

OPERATIONS: dict[type[Surgery], Operation[Any]] = {DropBlocks: BlockDropping(), PruneChannels: ChannelPruning()}
"""Of our own surgeries; a class of another package names its own by `implementation()`."""

Settle = Callable[[Operated, Derived], Derived]
"""From what is before a surgery and what was planned of it: the same with everything decided."""


def operate(checkpoint: Checkpoint, surgery: Sequence[Surgery], settle: Settle | None = None) -> Operated:
    """The checkpoint after the surgeries, in order. Raises RecipeError where one cannot be carried out on it.

    settle: what decides in a surgery that which calibration text has to; without it, that stays open.
    """
    steps: list[Derived] = []
    for each in surgery:
        operation = OPERATIONS.get(type(each)) or implementation(type(each), Operation)
        step = operation.plan(steps[-1].checkpoint if steps else checkpoint, each)
        steps.append(step if settle is None or not step.groups else settle(Operated(checkpoint, tuple(steps)), step))
    return Operated(checkpoint, tuple(steps))
