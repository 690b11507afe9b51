"""Colour tables: even, symmetric, and told apart without red and green."""

from __future__ import annotations

import numpy as np
import pytest

from benchvise.app.plots.colours import diverging, magnitude, series
from benchvise.app.theme.theme import DARK, LIGHT

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


def oklab(table):
    """Perceived lightness and the two opponent axes of sRGB colours uint8 [n, 3], float64 [n, 3].

    Source: Ottosson, "A perceptual color space for image processing", 2020.
    """
    linear = np.where((c := table / 255.0) <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _LMS_OF_RGB.T) @ _LAB_OF_LMS.T


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_diverging_is_symmetric_in_lightness_and_differs_along_blue_and_yellow(theme):
    table = diverging(theme)
    assert table.shape == (255, 3)
    lightness, _, blue_yellow = oklab(table).T
    away = np.diff(lightness[127:])
    assert (away < 0.004).all() if theme == "light" else (away > -0.004).all()
    assert np.abs(lightness - lightness[::-1]).max() < 0.13
    assert blue_yellow[0] < -0.08
    assert blue_yellow[-1] > 0.08
    assert np.abs(oklab(table)[127, 1:]).max() < 0.01


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_signs_are_told_apart_without_one_kind_of_cone(theme, missing):
    """Two colours that differ in the remaining two kinds of cone are told apart (Brettel et al., 1997, simplified)."""
    cones = np.array([[0.31399, 0.63951, 0.04650], [0.15537, 0.75789, 0.08670], [0.01775, 0.10945, 0.87257]])
    linear = (diverging(theme) / 255.0) ** 2.2
    seen = np.delete(np.cbrt(linear @ cones.T), missing, axis=1)
    assert np.abs(seen[20] - seen[-21]).max() > 0.04


def test_magnitude_rises_evenly():
    table = magnitude()
    assert table.shape == (256, 3)
    assert (np.diff(oklab(table)[:, 0]) > -1e-3).all()


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_curves_stand_out_from_their_background(theme):
    background = _luminance(theme.panel)
    for colour in series(theme.name):
        high, low = sorted((_luminance(colour), background), reverse=True)
        assert (high + 0.05) / (low + 0.05) > 3.0


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
