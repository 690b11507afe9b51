"""The shipped recipes as a menu: by size first, and within a size those that need no calibration text first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

from PySide6.QtWidgets import QMenu

from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import tr
from benchvise.core.recipe.presets import REFERENCE_MODEL, Preset, presets

MAX_LAYERS = 1000
"""Of checkpoints with more layers, the bits of the reference model are shown: counting would hold up the window."""


def fill_preset_menu(
    menu: QMenu, choose: Callable[[str], object], *, layers: Sequence[Layer] = (), enabled: bool = True
) -> None:
    """One submenu per size; each entry with its bits per weight, and what it does as its tool tip.

    choose: called with the preset's name. layers: of the open checkpoint, whose bits are counted.
    """
    counted = tuple(layers) if len(layers) <= MAX_LAYERS else ()
    model = tr("this checkpoint") if counted else REFERENCE_MODEL
    for group, members in groupby(presets(counted), key=lambda preset: preset.group):
        submenu = menu.addMenu(tr(group))
        submenu.setToolTipsVisible(True)
        submenu.setEnabled(enabled)
        calibrates = None
        for preset in members:
            if calibrates is False and preset.recipe.needs_calibration:
                submenu.addSeparator()
            calibrates = preset.recipe.needs_calibration
            action = submenu.addAction(_title(preset), partial(choose, preset.name))
            action.setObjectName(preset.name)
            action.setToolTip(_explained(preset, model))


def _title(preset: Preset) -> str:
    """The name, and what stands where other menus have shortcuts."""
    mark = tr(" · calibrates") if preset.recipe.needs_calibration else ""
    return tr(
        "{name}	{bits_per_weight:.2f} bits in compressed layers{mark}",
        name=preset.name,
        bits_per_weight=preset.bits_per_weight,
        mark=mark,
    )


def _explained(preset: Preset, model: str) -> str:
    learns = (
        tr("\nLearns from {in_words}.", in_words=preset.recipe.calibration.in_words)
        if preset.recipe.needs_calibration
        else ""
    )
    sizes = tr(
        "\n{bits_overall:.2f} bits per weight overall, on {model}.", bits_overall=preset.bits_overall, model=model
    )
    return f"{tr(preset.recipe.description)}{learns}{sizes}"
