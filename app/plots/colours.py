"""Colour tables of at most 256 entries, readable without telling red from green, in light and dark."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray

ColourTable = NDArray[np.uint8]

DIVERGING_ENTRIES = 255
"""Odd, so that one entry is exactly the neutral colour of zero."""

_ENDS = {
    "light": ((0.36, -0.02, -0.14), (0.985, 0.0, 0.0), (0.47, 0.095, 0.095)),
    "dark": ((0.79, -0.065, -0.115), (0.245, 0.0, -0.004), (0.79, 0.075, 0.135)),
}
"""Oklab of the most negative value, of zero and of the most positive value: blue and orange differ along the
blue-yellow axis, which the common forms of colour blindness keep."""

_SERIES = {
    "light": ("#0072b2", "#d55e00", "#007a5e", "#a8477f", "#8a6d00", "#4b4b4b"),
    "dark": ("#56b4e9", "#ff9d5c", "#2fd0a5", "#e69ac6", "#f0e442", "#d0d0d0"),
}
"""Curve colours after Okabe and Ito, darkened or lightened until each has contrast on the plot's background."""


@cache
def diverging(theme_name: str) -> ColourTable:
    """Blue through the neutral of zero to orange, uint8 [255, 3]; the middle fades into the theme's background."""
    low, middle, high = (np.array(end) for end in _ENDS[theme_name])
    half = DIVERGING_ENTRIES // 2
    away = np.linspace(1.0, 0.0, half, endpoint=False)[:, None]
    lab = np.concatenate([middle + (low - middle) * away, middle[None], middle + (high - middle) * away[::-1]])
    return _srgb_of_oklab(lab)


@cache
def magnitude() -> ColourTable:
    """Cividis, uint8 [256, 3]: evenly lighter from blue to yellow, in light and dark themes."""
    table: ColourTable = pg.colormap.get("cividis").getLookupTable(0.0, 1.0, 256, alpha=False).astype(np.uint8)
    return table


def series(theme_name: str) -> tuple[str, ...]:
    """Six colours for curves that lie over each other."""
    return _SERIES[theme_name]


_LMS_OF_RGB = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LAB_OF_LMS = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _srgb_of_oklab(lab: NDArray[np.float64]) -> ColourTable:
    linear = (lab @ np.linalg.inv(_LAB_OF_LMS).T) ** 3 @ np.linalg.inv(_LMS_OF_RGB).T
    linear = np.clip(linear, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.round(encoded * 255).astype(np.uint8)
