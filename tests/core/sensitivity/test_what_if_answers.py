"""What-if on one layer: the same answer as the whole model gives, the model loaded once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchvise.core.engine import answer
from benchvise.core.errors import CheckpointError, RecipeError
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Evaluate, MeasureSensitivity, WhatIf
from benchvise.core.protocol.results import Sensitivity, WhatIfAnswer
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.sensitivity import context, what_if

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
LAYER = "model.layers.2.mlp.up_proj"
INT3 = Treatment(Integer(bits=3, granularity="channel"))


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    what_if.forget_loaded(NullProgress())
    yield
    what_if.forget_loaded(NullProgress())


def asked(request: WhatIf) -> WhatIfAnswer:
    found = answer(request, NullProgress())
    assert isinstance(found, WhatIfAnswer)
    return found


def test_the_answer_is_what_measuring_says(tmp_path: Path) -> None:
    found = asked(WhatIf(str(SAMPLE), LAYER, INT3, windows=3, window_tokens=48))
    ask = MeasureSensitivity(str(SAMPLE), "", (INT3,), (LAYER,), 3, 48, str(tmp_path))
    measured = answer(ask, NullProgress())
    assert isinstance(measured, Sensitivity)
    (cell,) = measured.cells
    assert found.kl == cell.kl
    assert found.output_error == pytest.approx(cell.output_error)
    assert found.sqnr_db == cell.sqnr_db
    assert found.tokens == 3 * 48
    assert found.treatment == INT3.tag


def test_the_model_is_loaded_once_and_given_back_to_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[object] = []
    true = context.load_model
    monkeypatch.setattr(context, "load_model", lambda *a, **k: loads.append(a) or true(*a, **k))
    request = WhatIf(str(SAMPLE), LAYER, INT3, windows=2, window_tokens=32)
    first = asked(request)
    assert asked(replace(request, treatment=KEEP)).kl == 0
    again = asked(request)
    assert (first.kl, len(loads)) == (again.kl, 1)
    answer(Evaluate(str(SAMPLE), "", windows=1, window_tokens=32), NullProgress())
    asked(request)
    assert len(loads) == 2


def test_solvers_that_learn_are_shown_a_little_text() -> None:
    learned = Treatment(Integer(bits=3, granularity="channel"), ErrorFeedback())
    calibration = Calibration(windows=8, window_tokens=64)
    request = WhatIf(str(SAMPLE), LAYER, learned, windows=2, window_tokens=64, calibration=calibration)
    found, plain = asked(request), asked(replace(request, treatment=INT3))
    assert found.output_error is not None
    assert plain.output_error is not None
    assert found.output_error < plain.output_error
    assert any("tokens of the calibration text" in note for note in found.notes)


def test_without_an_architecture_the_layer_alone_is_judged(tmp_path: Path) -> None:
    shutil.copy(SAMPLE / "model.safetensors", tmp_path)
    found = asked(WhatIf(str(tmp_path), LAYER, INT3))
    assert found.kl is None
    assert found.sqnr_db is not None
    assert any("no config.json says" in note for note in found.notes)


def test_a_model_too_large_for_memory_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(what_if, "MEMORY_SHARE", 0.0)
    found = asked(WhatIf(str(SAMPLE), LAYER, INT3))
    assert found.kl is None
    assert any("that are free" in note for note in found.notes)


def test_unknown_layers_and_misfits_are_refused() -> None:
    with pytest.raises(CheckpointError, match="no layer"):
        asked(WhatIf(str(SAMPLE), "model.layers.9", INT3))
    with pytest.raises(RecipeError, match="does not divide"):
        asked(WhatIf(str(SAMPLE), LAYER, Treatment(Integer(group_size=128))))
