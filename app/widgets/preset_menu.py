"""The shipped recipes as a menu: by size first, and within a size those that need no calibration text first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import groupby

from PySide6.QtWidgets import QMenu

from benchvise.core.recipe.presets import Preset, presets


def fill_preset_menu(menu: QMenu, choose: Callable[[str], object], *, enabled: bool = True) -> None:
    """One submenu per size; each entry with its bits per weight, and what it does as its tool tip.

    choose: called with the preset's name.
    """
    for group, members in groupby(presets(), key=lambda preset: preset.group):
        submenu = menu.addMenu(group)
        submenu.setToolTipsVisible(True)
        submenu.setEnabled(enabled)
        calibrates = None
        for preset in members:
            if calibrates is False and preset.recipe.needs_calibration:
                submenu.addSeparator()
            calibrates = preset.recipe.needs_calibration
            action = submenu.addAction(_title(preset), partial(choose, preset.name))
            action.setObjectName(preset.name)
            action.setToolTip(_explained(preset))


def _title(preset: Preset) -> str:
    """The name, and what stands where other menus have shortcuts."""
    mark = " · calibrates" if preset.recipe.needs_calibration else ""
    return f"{preset.name}\t{preset.bits_per_weight:.2f} bits in compressed layers{mark}"


def _explained(preset: Preset) -> str:
    learns = f"\nLearns from {preset.recipe.calibration.in_words}." if preset.recipe.needs_calibration else ""
    return f"{preset.recipe.description}{learns}"
