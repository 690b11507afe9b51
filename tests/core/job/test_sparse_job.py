"""The presets for sparsity carried out on a small network: exact bytes, zeros in what is exported, resuming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.export.export import export
from benchvise.core.methods.calibration import Calibration
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Export
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from tests.core.blockwise.calibrated_models import recipe, tiny
from tests.core.job.compress_samples import run_recipe

ZEROS = {"sparse-50": 0.5, "sparse-60": 0.6, "sparse-2of4": 0.5}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny("llama", tmp_path_factory.mktemp("sparse") / "llama"))


@pytest.mark.parametrize("name", ZEROS)
def test_a_preset_leaves_exactly_so_many_weights_and_bytes(folder: Path, tmp_path: Path, name: str) -> None:
    text = recipe().calibration.text
    asked = replace(load_preset(name), calibration=Calibration(text, windows=4, window_tokens=16))
    run = run_recipe(folder, tmp_path / "space", asked)
    plan = make_plan(open_checkpoint(folder), asked)
    assert run.bytes_after == plan.bytes_after < plan.bytes_before
    assert all(layer.zeros >= ZEROS[name] - 0.01 for layer in run.layers)
    again = run_recipe(folder, tmp_path / "space", asked, resume=True)
    assert all(layer.resumed for layer in again.layers)
    out = export(Export(f"run:{run.run}", "dense", str(tmp_path / "out"), str(tmp_path / "space")), NullProgress()).out
    written = load_file(Path(out) / "model.safetensors")
    for row in plan.treated_rows:
        weight = written[row.layer.tensor.name]
        kept = row.treatment.scheme.kept_weights(*row.layer.matrix_shape)  # type: ignore[attr-defined]
        assert int((weight != 0).sum()) <= kept
        assert torch.isfinite(weight).all()
        if name == "sparse-2of4":
            assert bool((weight.view(-1, 4) != 0).sum(1).le(2).all())
