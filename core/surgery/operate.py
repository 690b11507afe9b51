"""A recipe's surgery on a checkpoint: what is left, from headers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.surgery import Surgery
from benchvise.core.plugins import implementation
from benchvise.core.surgery.derived import Derived, Operated
from benchvise.core.surgery.drop_blocks import BlockDropping
from benchvise.core.surgery.operation import Operation

OPERATIONS: dict[type[Surgery], Operation[Any]] = {DropBlocks: BlockDropping()}
"""Of our own surgeries; a class of another package names its own by `implementation()`."""


def operate(checkpoint: Checkpoint, surgery: Sequence[Surgery]) -> Operated:
    """The checkpoint after the surgeries, in order. Raises RecipeError where one cannot be carried out on it."""
    steps: list[Derived] = []
    for each in surgery:
        operation = OPERATIONS.get(type(each)) or implementation(type(each), Operation)
        steps.append(operation.plan(steps[-1].checkpoint if steps else checkpoint, each))
    return Operated(checkpoint, tuple(steps))
