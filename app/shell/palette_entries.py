"""What the command palette finds beside commands: presets, tabs, layers, runs, recent files, and settings."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchvise.app.shell.command_palette import HELP, LAYERS, RUNS, Found
from benchvise.app.widgets.command import OPEN_FIRST
from benchvise.core.language import tr
from benchvise.core.recipe.presets import preset_names
from benchvise.core.settings import settings_of
from benchvise.core.text import byte_text

if TYPE_CHECKING:
    from benchvise.app.shell.main_window import MainWindow

MAX_LAYERS = 20_000
"""Of larger checkpoints the filter of the tree finds layers."""


def palette_entries(window: MainWindow) -> Iterator[Found]:
    """Everything as it is now; nothing is read for it."""
    yield from _presets(window)
    yield from _tabs(window)
    yield from _recent(window)
    yield from _settings(window)
    yield from _runs(window)
    yield from _layers(window)


def _needs(window: MainWindow) -> str:
    return "" if window.session.document.checkpoint is not None else tr(OPEN_FIRST)


def _presets(window: MainWindow) -> Iterator[Found]:
    for name in preset_names():
        title = tr("Preset {name}", name=name)
        yield Found(title, partial(window.opening.use_preset, name), "mdi6.tune-variant", needs=_needs(window))


def _tabs(window: MainWindow) -> Iterator[Found]:
    for number, title in enumerate(window.plot_titles()):
        shown = tr("Tab: {title}", title=tr(title))
        run = partial(window.show_plot, number)
        yield Found(shown, run, "mdi6.chart-box-outline", needs=_needs(window), keys=str(number + 1))


def _recent(window: MainWindow) -> Iterator[Found]:
    for path in window.session.preferences.recent:
        title = tr("Open {name}", name=Path(path).name)
        yield Found(title, partial(window.opening.open, path), "mdi6.history", detail=str(Path(path).parent))


def _settings(window: MainWindow) -> Iterator[Found]:
    from benchvise.app.state.preference_values import PreferenceValues

    for declared in settings_of(PreferenceValues):
        title = tr(declared.title)
        shown = tr("Preferences: {title}", title=title)
        yield Found(shown, partial(window.show_preferences, title), "mdi6.cog-outline", HELP, tr(declared.help))
    for name, label in window.inspector.setting_labels().items():
        run = partial(window.edit_setting, name)
        yield Found(tr("Setting: {title}", title=label), run, "mdi6.tune", detail=tr("Of the selected layers"))


def _runs(window: MainWindow) -> Iterator[Found]:
    for run in window.session.document.own_runs():
        title = tr("Run {name}", name=run.recipe_name or run.run)
        told = f"{byte_text(run.bytes_after)} · {run.created.replace('T', ' ')[:16]}"
        yield Found(title, partial(window.show_run, run.run), "mdi6.clipboard-check-outline", RUNS, told)


def _layers(window: MainWindow) -> Iterator[Found]:
    checkpoint = window.session.document.checkpoint
    if checkpoint is None or len(checkpoint.layers) > MAX_LAYERS:
        return
    for number, layer in enumerate(checkpoint.layers):
        run = partial(window.session.document.select, (number,))
        yield Found(layer.name, run, "mdi6.layers-outline", LAYERS, layer.role)
