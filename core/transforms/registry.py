"""The arithmetic of every transform, registered by explicit import."""

from __future__ import annotations

from typing import Any

from core.methods.fold import Fold
from core.methods.rotate import Rotate
from core.methods.scale import Scale
from core.methods.smooth import Smooth
from core.methods.transform import Transform
from core.transforms.fold import FoldNorms
from core.transforms.rotate import RotateNetwork
from core.transforms.scale import ScaleBlock
from core.transforms.smooth import SmoothBlock
from core.transforms.transform import BlockTransform, NetworkTransform

NETWORK: dict[type[Transform], type[NetworkTransform[Any]]] = {Fold: FoldNorms, Rotate: RotateNetwork}
BLOCK: dict[type[Transform], type[BlockTransform[Any]]] = {Smooth: SmoothBlock, Scale: ScaleBlock}
