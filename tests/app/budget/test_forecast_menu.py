"""The conditions of a forecast: chosen from what there is, shown with the figure, asked of the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtWidgets import QFileDialog, QWidget

from benchvise.app.budget.forecast_menu import THIS_MACHINE, ForecastMenu
from benchvise.app.engine.client import EngineClient
from benchvise.app.state.decode_conditions import Conditions
from benchvise.app.state.document import Document
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.workspace.machine_profiles import kept_profiles, save_profile
from tests.core.runtime.synthetic_profile import synthetic_profile


@pytest.fixture
def parent(qtbot) -> QWidget:
    widget = QWidget()
    qtbot.addWidget(widget)
    return widget


@pytest.fixture
def menu(parent: QWidget, tmp_path: Path) -> ForecastMenu:
    document = Document(EngineClient(in_process=True, parent=parent), str(tmp_path / "workspace"), parent)
    checkpoint = open_checkpoint(str(Path(__file__).parents[3] / "resources" / "sample"))
    document.checkpoint = replace(checkpoint, config={**checkpoint.config, "max_position_embeddings": 1024})
    return ForecastMenu(document, parent)


def actions(menu: ForecastMenu) -> dict[str, object]:
    menu.fill()
    parts = [action.menu() for action in menu.actions()]
    return {action.text(): action for part in parts for action in part.actions() if action.text()}


def test_contexts_beyond_the_models_positions_are_not_offered(menu: ForecastMenu) -> None:
    offered = actions(menu)
    assert {"1", "4", "16", "64", "32", "512", THIS_MACHINE} <= set(offered)
    assert not {"2,048", "8,192"} & set(offered)


def test_choices_are_told_once_and_ticked(menu: ForecastMenu, qtbot) -> None:
    changed = menu._document.conditions_changed
    with qtbot.waitSignal(changed):
        actions(menu)["16"].trigger()
    assert menu.conditions == Conditions(batch=16)
    assert actions(menu)["16"].isChecked()
    with qtbot.assertNotEmitted(changed):
        actions(menu)["16"].trigger()
    actions(menu)["512"].trigger()
    assert menu.conditions == Conditions(batch=16, context=512)
    assert menu.conditions.words == "16 sequences side by side after 512 tokens"
    assert menu.conditions.short == "16 × 512"
    menu.fill()
    titles = [action.text() for action in menu.actions()]
    assert titles == ["Sequences side by side: 16", "Tokens of context: 512", "Machine: this machine"]
    assert not menu.conditions.are_default


def test_a_loaded_profile_is_kept_and_chosen(menu: ForecastMenu, tmp_path: Path, monkeypatch) -> None:
    file = save_profile(synthetic_profile(), tmp_path / "laptop.json").file
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (file, ""))
    actions(menu)["Load profile …"].trigger()
    (kept,) = kept_profiles(str(tmp_path / "workspace"))
    assert menu.conditions == Conditions(profile=kept.file, machine="Laptop")
    assert Path(kept.file).parent != tmp_path
    assert actions(menu)["Laptop"].isChecked()
    actions(menu)[THIS_MACHINE].trigger()
    assert menu.conditions.are_default


def test_a_damaged_profile_is_a_problem_and_changes_nothing(menu: ForecastMenu, tmp_path: Path, qtbot) -> None:
    file = tmp_path / "broken.json"
    file.write_text("{")
    with qtbot.waitSignal(menu.failed) as told:
        menu.load(file)
    assert "damaged" in told.args[0].what
    assert "benchvise profile" in told.args[0].remedy
    assert menu.conditions.are_default
    assert kept_profiles(str(tmp_path / "workspace")) == ()
