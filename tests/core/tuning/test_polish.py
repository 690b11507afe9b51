"""Polish: codes stay, the divergence on text that was not learned from falls, and jobs can be taken up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import Cancelled
from benchvise.core.evaluate.evaluate import evaluate
from benchvise.core.job.job import compress
from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Evaluate
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.weights.open import open_weights
from tests.core.blockwise.calibrated_models import SAMPLE, recipe, tiny
from tests.core.job.compress_samples import records, run_recipe

POLISH = Polish(steps=30, batch_windows=4)


class Listener(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def plain(scheme: Scheme, *tuning: Tuning) -> Recipe:
    """Nothing but nearest rounding, which looks at no text, and tuning, which does."""
    return replace(recipe(Nearest()), rules=(Rule(("linears",), Treatment(scheme)),), tuning=tuning)


@pytest.mark.parametrize(
    "scheme",
    [
        Integer(bits=3, group_size=4),
        Integer(bits=3, symmetric=False, granularity="channel"),
        Codebook(bits=3, granularity="channel"),
    ],
)
def test_lowers_the_divergence_and_keeps_every_code(tmp_path: Path, scheme: Scheme) -> None:
    asked = plain(scheme, POLISH)
    asked = replace(asked, calibration=replace(asked.calibration, windows=24, window_tokens=64))
    before = run_recipe(SAMPLE, tmp_path, replace(asked, tuning=()))
    after = run_recipe(SAMPLE, tmp_path, asked)
    assert after.bytes_after == before.bytes_after
    judged = [
        evaluate(Evaluate(f"run:{run.run}", "", against=str(SAMPLE), workspace=str(tmp_path)), NullProgress())
        for run in (before, after)
    ]
    assert judged[0].kl_mean is not None
    assert judged[1].kl_mean is not None
    assert judged[1].kl_mean < judged[0].kl_mean
    ours, theirs = (open_weights(f"run:{run.run}", str(tmp_path)) for run in (after, before))
    changed = 0
    for layer in ours.checkpoint.layers:
        polished, solved = ours.stored(layer), theirs.stored(layer)
        assert {name: (v.shape, v.dtype) for name, v in polished.items()} == {
            name: (v.shape, v.dtype) for name, v in solved.items()
        }
        if "weight_packed" in solved:
            assert torch.equal(polished["weight_packed"], solved["weight_packed"])
            changed += any(not torch.equal(polished[name], solved[name]) for name in solved)
    assert changed == len(after.layers)
    assert all("tuned by polish" in layer.notes for layer in after.layers)


def test_norms_are_tuned_and_kept_with_the_run(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "llama", num_hidden_layers=2)
    run = run_recipe(folder, tmp_path / "space", plain(Integer(bits=2, group_size=8), POLISH))
    weights = open_weights(f"run:{run.run}", str(tmp_path / "space"))
    originals = open_weights(str(folder))
    norms = [layer for layer in weights.checkpoint.layers if "norm" in layer.name]
    assert len(norms) == 5
    assert any(not torch.equal(weights.dense(norm), originals.dense(norm)) for norm in norms)


def test_a_job_that_was_cut_off_while_polishing_ends_with_the_same_bytes(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "llama", num_hidden_layers=2)
    asked = replace(recipe(), tuning=(POLISH,))
    whole = run_recipe(folder, tmp_path / "whole", asked)

    class Impatient(NullProgress):
        def start(self, total: int, unit: str) -> None:  # noqa: ARG002
            self.unit = unit

        def advance(self, units: int) -> None:  # noqa: ARG002
            if self.unit == "steps":
                raise Cancelled

    request = Compress(str(folder), asked, str(tmp_path / "cut"))
    with pytest.raises(Cancelled):
        compress(request, Impatient())
    resumed = compress(replace(request, resume=True), NullProgress())
    assert all(layer.resumed for layer in resumed.layers)
    assert records(tmp_path / "cut") == records(tmp_path / "whole")
    again = compress(replace(request, resume=True), NullProgress())
    assert again.run == resumed.run
    assert [layer.name for layer in again.layers] == [layer.name for layer in whole.layers]


def test_what_does_not_pay_is_undone(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "llama", num_hidden_layers=2)
    wild = Polish(steps=3, batch_windows=2, learning_rate=1.0)
    eight = Integer(bits=8, granularity="channel")
    listener = Listener()
    run = compress(Compress(str(folder), plain(eight, wild), str(tmp_path / "a")), listener)
    assert any("did not pay" in note for note in listener.notes)
    assert not any("tuned by polish" in layer.notes for layer in run.layers)
    plainly = run_recipe(folder, tmp_path / "b", plain(eight))
    ours, theirs = (open_weights(f"run:{r.run}", str(tmp_path / name)) for r, name in ((run, "a"), (plainly, "b")))
    for layer in open_checkpoint(str(folder)).layers:
        assert torch.equal(ours.dense(layer), theirs.dense(layer))
