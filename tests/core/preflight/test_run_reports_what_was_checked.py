"""No run reports a fallback that the check had not listed: real runs of the sample, held against their checks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchvise.core.engine import answer
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.fold import Fold
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.rotate import Rotate
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import CheckRecipe, Compress
from benchvise.core.protocol.results import Checked, Finding, Run
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.wording import sentences

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
FEW = Calibration(windows=4, window_tokens=1024)

W8A8 = Treatment(Integer(8, granularity="channel"), activations=Activations())
GROUPS = Treatment(Integer(4, group_size=128, indivisible="divisor"))

RECIPES = {
    "mixed groups": Recipe((Rule(("linears",), GROUPS), Rule(("embeddings",), GROUPS), Rule(("*layers.9*",), GROUPS))),
    "asymmetric": Recipe((Rule(("all",), Treatment(Integer(3, symmetric=False, granularity="channel"))),)),
    "activations": Recipe((Rule(("linears",), W8A8), Rule(("embeddings",), W8A8))),
    "fixed activations": Recipe(
        (Rule(("linears",), replace(W8A8, activations=Activations(mode="static"))),), calibration=FEW
    ),
    "folded and turned": Recipe(
        (Rule(("linears",), GROUPS),), transforms=(Fold(), Rotate(), Smooth()), calibration=FEW
    ),
    "learned from text": Recipe(
        (Rule(("linears",), Treatment(Integer(4, granularity="channel"), ErrorFeedback(passes=0))),),
        calibration=Calibration(text="short.txt", windows=64, window_tokens=64),
    ),
    "sparse": Recipe((Rule(("linears",), Treatment(Sparse())),)),
    "code books and integers": Recipe(
        (Rule(("linears",), GROUPS), Rule(("role:mlp.down",), Treatment(Codebook(group_size=4))))
    ),
    "code books alone": Recipe((Rule(("linears",), Treatment(Codebook(group_size=4))),)),
}


class Log(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.mark.parametrize("name", RECIPES)
def test_every_fallback_of_a_run_was_listed_before(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("short.txt").write_text("Once upon a time there was a small dog who liked to run. " * 20)
    recipe, out, workspace = RECIPES[name], str(tmp_path / "out"), str(tmp_path / "workspace")
    checked = answer(CheckRecipe(str(SAMPLE), recipe, out=out, workspace=workspace), NullProgress())
    assert isinstance(checked, Checked)
    assert checked.may_run
    log = Log()
    run = answer(Compress(str(SAMPLE), recipe, workspace, out), log)
    assert isinstance(run, Run)
    said = [*sentences(run.warnings), *(note for note in log.notes if not note.startswith(("Finding one", "Solving")))]
    unlisted = [sentence for sentence in said if not any(lists(finding, sentence) for finding in checked.findings)]
    assert not unlisted
    assert name in ("fixed activations", "sparse") or said


def lists(finding: Finding, sentence: str) -> bool:
    """Whether the finding says what the sentence says: its reason, and the layers that the sentence names."""
    reasons = [finding.title, finding.title.partition(": ")[2], *finding.detail.split(". ")]
    if any(reason and reason.rstrip(".").lower() in sentence.lower() for reason in reasons):
        return not finding.layers or "model." not in sentence or any(layer in sentence for layer in finding.layers)
    # What calibration alone can tell is listed by the transform, and told block by block.
    return finding.kind == "transform" and "left out wherever" in finding.title and sentence.startswith("Block ")
