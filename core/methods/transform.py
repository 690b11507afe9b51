"""What every transform declares: a rewrite that keeps the network's function and makes it easier to compress."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Transform(ABC):
    """Subclasses are frozen settings classes. A recipe's transforms are carried out in its order, before any solver.

    reach: "network" when it changes all blocks and what lies between them (rotation, folding), "block" when it is
    found block by block from calibration inputs (smoothing, scaling).
    """

    key: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    reach: ClassVar[Literal["network", "block"]]
