"""What every surgery declares: a change of the network's structure that leaves a smaller network of the same kind."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Surgery(ABC):
    """Subclasses are frozen settings classes. A recipe's surgeries are carried out in its order, before all else.

    Every name and number in a recipe's rules means the checkpoint as it was opened, whatever surgery does to it.
    needs_calibration: whether calibration text decides what is left; shapes and bytes are known before all the same.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    needs_calibration: ClassVar[bool] = False
