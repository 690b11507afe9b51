"""Rules that share a budget of bits out: within it on any model, spent where outputs heed it, decided once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.errors import Cancelled
from benchvise.core.job import decisions
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.protocol.results import Run
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from benchvise.core.workspace.workspace import Workspace
from tests.core.blockwise.calibrated_models import plain_tensors, tiny
from tests.core.job.compress_samples import Stopping, records, run_recipe, timeless

UNHEEDED = tuple(f"model.layers.1.self_attn.{name}_proj" for name in "qkv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose second block lets nothing of its attention through."""
    made = Path(tiny("llama", tmp_path_factory.mktemp("bits") / "llama", dtype=torch.bfloat16))
    tensors = load_file(made / "model.safetensors")
    tensors["model.layers.1.self_attn.o_proj.weight"].zero_()
    save_file(tensors, made / "model.safetensors", {"format": "pt"})
    return made


def asked(preset: str = "quick-3bit") -> Recipe:
    return replace(load_preset(preset), calibration=Calibration(windows=6, window_tokens=32))


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> tuple[Path, Run]:
    workspace = folder.parent / "undisturbed"
    return workspace, run_recipe(folder, workspace, asked())


def stored(workspace: Path, run: Run) -> int:
    """Bytes of the treated layers as their files hold them."""
    files = Workspace(str(workspace)).run(run.run).layer_files
    return sum(sum(entry.nbytes for entry in read_header(files[layer.name]).entries) for layer in run.layers)


def test_bits_go_where_outputs_heed_them_within_the_budget(folder: Path, undisturbed: tuple[Path, Run]) -> None:
    plan, (space, run) = make_plan(open_checkpoint(folder), asked()), undisturbed
    weights = sum(row.layer.parameters for row in plan.treated_rows)
    assert plan.bits_per_treated_weight == pytest.approx(3.25, abs=0.001)
    assert any("the run finds their bits" in each for each in sentences(plan.plan_warnings))
    assert 0.95 * 3.25 < 8 * stored(space, run) / weights <= 3.25
    assert run.bytes_after <= plan.bytes_after
    opened = open_weights(f"run:{run.run}", str(space))
    bits = {row.layer.name: opened.treatment(row.layer).scheme.elements.bits for row in plan.treated_rows}
    assert {bits[name] for name in UNHEEDED} == {2}
    assert max(bits.values()) > 2
    assert run.recipe_name == "quick-3bit"


def test_bits_are_decided_once_and_kept_with_the_run(
    folder: Path, undisturbed: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted, again = tmp_path / "interrupted", tmp_path / "again"
    with pytest.raises(Cancelled):
        run_recipe(folder, interrupted, asked(), progress=Stopping(9))
    monkeypatch.setattr(decisions, "factors", lambda *_: pytest.fail("bits are decided once"))
    found = run_recipe(folder, interrupted, asked(), resume=True)
    assert any(layer.resumed for layer in found.layers)
    assert records(interrupted) == records(undisturbed[0])
    assert timeless(found) == timeless(undisturbed[1])
    kept = Workspace(str(undisturbed[0])).run(undisturbed[1].run).recipe
    run_recipe(folder, again, kept)
    assert records(again) == records(undisturbed[0])


def test_a_budget_that_no_bits_keep_within_is_told_before_the_run(folder: Path, tmp_path: Path) -> None:
    plan = make_plan(open_checkpoint(folder), asked("quick-2bit"))
    assert any(
        "bits per weight together, more than the 2.25 asked for" in each for each in sentences(plan.plan_warnings)
    )
    run = run_recipe(folder, tmp_path / "space", asked("quick-2bit"))
    assert stored(tmp_path / "space", run) == sum(row.bytes_after for row in plan.treated_rows)


def test_without_a_network_every_layer_keeps_within_its_own_share(tmp_path: Path) -> None:
    treatment = Treatment(Integer(bits=4, group_size=16), Nearest(clip_search=True))
    recipe = Recipe((Rule(("*",), treatment, budget=5.5),))
    run = run_recipe(plain_tensors(tmp_path / "plain"), tmp_path / "space", recipe)
    # float32 tensors have scales of 2 bytes or 4: 4 bits in groups of 16 take 5 or 6 bits, no groups less than 5.
    assert 8 * stored(tmp_path / "space", run) / (2 * 16 * 32) <= 5.5
