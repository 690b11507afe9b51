"""A measurement on an exported folder is kept with the run it was exported from."""

from __future__ import annotations

from pathlib import Path

from benchvise.core.engine import answer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Evaluate
from benchvise.core.protocol.results import Evaluation, Run
from benchvise.core.recipe.presets import load_preset
from benchvise.core.workspace.workspace import Workspace

SAMPLE = str(Path(__file__).parents[2] / "resources" / "sample")


def test_evaluating_the_folder_shows_in_the_runs(tmp_path: Path) -> None:
    workspace, out = str(tmp_path / "workspace"), str(tmp_path / "out")
    run = answer(Compress(SAMPLE, load_preset("int8-channel"), workspace, out=out), NullProgress())
    assert isinstance(run, Run)
    judged = answer(Evaluate(out, "", SAMPLE, windows=2, window_tokens=64, workspace=workspace), NullProgress())
    assert isinstance(judged, Evaluation)
    assert [(kept.run, kept.kl_mean) for kept in Workspace(workspace).runs()] == [(run.run, judged.kl_mean)]


def test_a_folder_of_another_workspace_is_measured_all_the_same(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    answer(Compress(SAMPLE, load_preset("int8-channel"), str(tmp_path / "one"), out=out), NullProgress())
    judged = answer(Evaluate(out, "", windows=2, window_tokens=64, workspace=str(tmp_path / "two")), NullProgress())
    assert isinstance(judged, Evaluation)
    assert Workspace(str(tmp_path / "two")).runs() == ()
