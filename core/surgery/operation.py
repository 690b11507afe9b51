"""What carries a surgery out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.methods.surgery import Surgery
from benchvise.core.surgery.derived import Derived

S = TypeVar("S", bound=Surgery)


class Operation(ABC, Generic[S]):
    """The planning side of one class of settings; it knows headers and reads no weight."""

    @abstractmethod
    def plan(self, checkpoint: Checkpoint, settings: S) -> Derived:
        """The checkpoint that is left: exact names, shapes, bytes and config.

        Raises RecipeError where the surgery cannot be carried out on the checkpoint.
        """
