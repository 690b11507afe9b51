"""What carries out every transform: ours by explicit import, those of other packages by the transform itself."""

from __future__ import annotations

from typing import Any

from benchvise.core.methods.fold import Fold
from benchvise.core.methods.rotate import Rotate
from benchvise.core.methods.scale import Scale
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.transform import Transform
from benchvise.core.plugins import implementation
from benchvise.core.transforms.fold import FoldNorms
from benchvise.core.transforms.rotate import RotateNetwork
from benchvise.core.transforms.scale import ScaleBlock
from benchvise.core.transforms.smooth import SmoothBlock
from benchvise.core.transforms.transform import BlockRewrite, NetworkRewrite

Rewrite = NetworkRewrite[Any] | BlockRewrite[Any]

REWRITES: dict[type[Transform], type[Rewrite]] = {
    Fold: FoldNorms,
    Rotate: RotateNetwork,
    Smooth: SmoothBlock,
    Scale: ScaleBlock,
}


def rewrite_of(transform: Transform) -> type[Rewrite]:
    """What carries out a transform.

    Raises RecipeError when the transform of another package gives nothing of its reach.
    """
    if type(transform) in REWRITES:
        return REWRITES[type(transform)]
    found: type[Rewrite] = implementation(type(transform), _REACH[transform.reach])
    return found


_REACH: dict[str, type[Rewrite]] = {"network": NetworkRewrite, "block": BlockRewrite}
