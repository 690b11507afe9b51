"""A preset for low rank on a small network: ranks by what outputs lose, exact bytes, interrupted and resumed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchvise.core.blockwise.curvature import factors
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import Cancelled
from benchvise.core.evaluate.forward import logits_of
from benchvise.core.export.export import export
from benchvise.core.job import decisions
from benchvise.core.methods.calibration import Calibration
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Export
from benchvise.core.protocol.results import Run
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.runtime.build import load_model
from benchvise.core.schemes.factors import singular_values
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from tests.core.blockwise.calibrated_models import plain_tensors, tiny
from tests.core.job.compress_samples import Stopping, records, run_recipe, timeless


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny("llama", tmp_path_factory.mktemp("low rank") / "llama", dtype=torch.bfloat16))


SHARE = 0.6


def asked() -> Recipe:
    return replace(load_preset("lowrank-60"), calibration=Calibration(windows=6, window_tokens=32))


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> tuple[Path, Run]:
    workspace = folder.parent / "undisturbed"
    return workspace, run_recipe(folder, workspace, asked())


def test_a_preset_keeps_within_its_bytes_and_shares_them_unevenly(
    folder: Path, undisturbed: tuple[Path, Run], tmp_path: Path
) -> None:
    plan, (space, run) = make_plan(open_checkpoint(folder), asked()), undisturbed
    assert any("the run finds their ranks" in each for each in sentences(plan.plan_warnings))
    linears = [row.layer for row in plan.treated_rows]
    stored = {layer.name: layer.bytes_after for layer in run.layers}
    whole = sum(layer.nbytes for layer in linears)
    total = sum(stored.get(layer.name, layer.nbytes) for layer in linears)
    assert total <= sum(row.bytes_after for row in plan.treated_rows) <= SHARE * whole
    assert total > 0.93 * SHARE * whole
    assert run.bytes_after <= plan.bytes_after
    shares = {stored.get(layer.name, layer.nbytes) / layer.nbytes for layer in linears}
    assert len({round(each, 1) for each in shares}) > 2
    out = export(Export(f"run:{run.run}", "dense", str(tmp_path / "out"), str(space)), NullProgress()).out
    written = load_file(Path(out) / "model.safetensors")
    opened = open_weights(f"run:{run.run}", str(space))
    for layer in linears:
        values = np.linalg.svd(written[layer.tensor.name].double().numpy(), compute_uv=False)
        rank = opened.treatment(layer).scheme.inner_width(*layer.matrix_shape) or min(layer.matrix_shape)
        assert (values[rank:] < 0.02 * values[0]).all()  # but for rounding the product
    assert run.recipe_name == "lowrank-60"


def test_an_interrupted_job_goes_on_with_the_same_ranks(
    folder: Path, undisturbed: tuple[Path, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, workspace = asked(), tmp_path / "space"
    with pytest.raises(Cancelled):
        run_recipe(folder, workspace, recipe, progress=Stopping(9))
    monkeypatch.setattr(decisions, "factors", lambda *_: pytest.fail("ranks are decided once"))
    found = run_recipe(folder, workspace, recipe, resume=True)
    assert any(layer.resumed for layer in found.layers)
    assert records(workspace) == records(undisturbed[0])
    assert timeless(found) == timeless(undisturbed[1])


def test_kl_estimated_from_spectra(folder: Path) -> None:
    """Half the squares left out are what the KL rises by, measured at a rank that changes outputs a little."""
    weights = open_weights(str(folder), "")
    model = load_model(weights)
    ids = torch.randint(512, (40, 32), generator=torch.Generator().manual_seed(3))
    layer = weights.checkpoint.layer("model.layers.1.mlp.down_proj")
    known = factors(model, ids, [layer], NullProgress())[layer.name]
    matrix = weights.dense(layer)
    values = singular_values(matrix, known.inputs, known.gradients)
    roots = [
        torch.linalg.cholesky(each.double() + 1e-12 * torch.eye(len(each))) for each in (known.gradients, known.inputs)
    ]
    oracle = np.linalg.svd((roots[0].T @ matrix.double() @ roots[1]).numpy(), compute_uv=False)
    np.testing.assert_allclose(values, oracle, rtol=1e-3, atol=1e-6 * oracle[0])
    # The best product in that norm: undo both roots.
    u, s, v = torch.linalg.svd(roots[0].T @ matrix.double() @ roots[1], full_matrices=False)
    rank = 24
    best = torch.linalg.solve(roots[0].T, (u[:, :rank] * s[:rank]) @ v[:rank]) @ torch.linalg.inv(roots[1])
    before = logits_of(model, ids).log_softmax(-1)
    model.get_parameter("model.layers.1.mlp.down_proj.weight").data.copy_(best)
    after = logits_of(model, ids).log_softmax(-1)
    kl = float((before.exp() * (before - after)).sum(-1).mean())
    assert kl == pytest.approx(0.5 * float(values[rank:].square().sum()), rel=0.5)


def test_without_a_network_every_layer_has_its_even_share(tmp_path: Path) -> None:
    folder = plain_tensors(tmp_path / "tensors")
    run = run_recipe(folder, tmp_path / "space", asked())
    assert [layer.treatment for layer in run.layers] == 2 * ["rank 6 whitened"]  # of 0.6 · 16 · 32 / 48 = 6.4
    plan = make_plan(open_checkpoint(folder), asked())
    assert run.bytes_after == plan.bytes_after
