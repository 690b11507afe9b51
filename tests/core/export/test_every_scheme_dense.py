"""Schemes of every family on the shipped model: compressed, looked at, run, and exported dense for any loader."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchvise.core.analysis.look import look
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Look
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.prepare import prepare
from benchvise.core.runtime.running import load_running
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from tests.core.export.export_models import SAMPLE, export_run, loaded_logits, make_run, workbench_logits

LAYER = "model.layers.1.mlp.down_proj"
SCHEMES: list[tuple[Scheme, float]] = [
    (Floating(), 30),
    (Floating(number="e5m2", granularity="block"), 24),
    (Microscaling(indivisible="pad"), 15),
    (Microscaling(number="e4m3", indivisible="pad"), 28),
    (NvFloat4(indivisible="pad"), 18),
    (NonLinear(indivisible="divisor"), 17),
    (NonLinear(curve="logarithmic", bits=5, half_steps=True, indivisible="divisor"), 16),
    (Integer(4, granularity="block", block_rows=16, group_size=43, indivisible="divisor"), 14),
]


@pytest.mark.parametrize(
    ("scheme", "least_db"), SCHEMES, ids=lambda value: value.tag if isinstance(value, Scheme) else ""
)
def test_from_compression_to_a_dense_export(tmp_path: Path, scheme: Scheme, least_db: float) -> None:
    workspace = tmp_path / "workspace"
    treatment = Treatment(scheme, Nearest(clip_search=True))
    run = make_run(SAMPLE, Recipe((Rule(("linears",), treatment),), name="test"), workspace)
    weights = open_weights(f"run:{run}", str(workspace))
    treated = [layer for layer in weights.checkpoint.layers if not weights.treatment(layer).keeps]
    assert len(treated) == 35
    for layer in treated:
        fitted = weights.treatment(layer).scheme
        stored = weights.stored(layer)
        assert sum(one.nbytes for one in stored.values()) == fitted.bytes_after(layer)
        decoded = arithmetic_of(fitted).decode(fitted, stored, 0, *layer.matrix_shape)
        assert torch.equal(decoded.to(torch.float32), weights.dense(layer))

    seen = look(Look(str(SAMPLE), LAYER, after=treatment), NullProgress())
    assert seen.grid is not None
    assert len(seen.grid) >= 8
    assert (seen.grid[1:] >= seen.grid[:-1]).all()
    assert seen.sqnr_db is not None
    assert seen.sqnr_db > least_db
    again = look(Look(str(SAMPLE), LAYER, after=f"run:{run}", workspace=str(workspace)), NullProgress())
    assert again.sqnr_db == seen.sqnr_db
    assert again.grid is not None
    assert again.grid.tolist() == seen.grid.tolist()

    running = load_running(weights, torch.device("cpu"), NullProgress())
    assert [route for route, _ in running.routes] == ["dense float32"]
    assert any(scheme.tag.split()[0] in reason and "no kernel reads" in reason for reason in running.fallbacks)
    with pytest.raises(ValueError, match="no codes that a kernel could read"):
        prepare(weights.stored(treated[0]), weights.treatment(treated[0]), 64, 64, torch.float32, torch.device("cpu"))

    export_run(run, tmp_path / "out", workspace, "dense")
    assert torch.equal(loaded_logits(tmp_path / "out"), workbench_logits(SAMPLE, run, workspace))


def test_packed_export_tells_how_it_writes_blocks_of_rows(tmp_path: Path) -> None:
    scheme = Integer(4, granularity="block", block_rows=16, group_size=32, indivisible="divisor")
    rules = (Rule(("*.q_proj",), Treatment(scheme)), Rule(("*.k_proj",), Treatment(Integer(4, group_size=32))))
    run = make_run(SAMPLE, Recipe(rules, name="test"), tmp_path / "workspace")
    exported = export_run(run, tmp_path / "out", tmp_path / "workspace", "compressed-tensors")
    assert any("blocks of rows share" in warning for warning in sentences(exported.warnings))
