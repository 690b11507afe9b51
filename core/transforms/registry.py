"""The arithmetic of every transform, registered by explicit import."""

from __future__ import annotations

from typing import Any

from benchvise.core.methods.fold import Fold
from benchvise.core.methods.rotate import Rotate
from benchvise.core.methods.scale import Scale
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.transform import Transform
from benchvise.core.transforms.fold import FoldNorms
from benchvise.core.transforms.rotate import RotateNetwork
from benchvise.core.transforms.scale import ScaleBlock
from benchvise.core.transforms.smooth import SmoothBlock
from benchvise.core.transforms.transform import BlockTransform, NetworkTransform

NETWORK: dict[type[Transform], type[NetworkTransform[Any]]] = {Fold: FoldNorms, Rotate: RotateNetwork}
BLOCK: dict[type[Transform], type[BlockTransform[Any]]] = {Smooth: SmoothBlock, Scale: ScaleBlock}
