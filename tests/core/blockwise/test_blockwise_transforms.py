"""Transforms on the walk: the network's function stays, and what was changed but kept is read from the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchvise.core.blockwise.calibration import calibration_text
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import Cancelled
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.fold import Fold
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.rotate import Rotate
from benchvise.core.methods.scale import Scale
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.transform import Transform
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import OriginalWeights, RunWeights
from benchvise.core.workspace.workspace import Workspace
from tests.core.blockwise.calibrated_models import SAMPLE, recipe, tiny
from tests.core.job.compress_samples import Watcher, records, run_recipe

FINE = Treatment(Integer(bits=8, group_size=8))


@pytest.mark.parametrize("transform", [Fold(), Rotate(), Smooth(), Scale()])
def test_the_function_stays(transform: Transform, tmp_path: Path) -> None:
    """Eight bits change the logits little; a norm left as it was, or a block not turned, would change all."""
    folder = tiny("llama", tmp_path / "model")
    asked = Recipe(
        (Rule(("re:.*layers.[01].*_proj",), FINE),), calibration=recipe().calibration, transforms=(transform,)
    )
    run = run_recipe(folder, tmp_path / "workspace", asked)
    weights = open_weights(f"run:{run.run}", str(tmp_path / "workspace"))
    assert isinstance(weights, RunWeights)
    changed = [layer.name for layer in weights.checkpoint.layers if weights.changed(layer)]
    if not isinstance(transform, Scale):  # which leaves things alone where scaling does not pay
        assert "model.layers.0.input_layernorm" in changed
    assert not set(changed) & {layer.name for layer in run.layers}
    if isinstance(transform, Rotate):
        assert {"model.embed_tokens", "model.norm", "lm_head", "model.layers.2.mlp.down_proj"} <= set(changed)
    for layer in weights.checkpoint.layers:
        whole = torch.cat([rows for _, rows in weights.dense_blocks(layer)]).reshape(layer.shape)
        assert torch.equal(whole, weights.dense(layer))
        assert weights.dense(layer).shape == layer.shape
    ids = calibration_text(open_checkpoint(folder), asked.calibration, 0).ids
    before, after = load_model(OriginalWeights(open_checkpoint(folder))), load_model(weights)
    with torch.no_grad():
        expected = before(ids).logits.log_softmax(-1)
        found = after(ids).logits.log_softmax(-1)
    assert float((expected.exp() * (expected - found)).sum(-1).mean()) < 0.02


def test_resuming_with_transforms(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "model")
    asked = Recipe((Rule(("linears",), FINE),), calibration=recipe().calibration, transforms=(Rotate(), Smooth()))
    run_recipe(folder, tmp_path / "undisturbed", asked)

    class Stopping(Watcher):
        def result(self, record: object) -> None:
            super().result(record)
            if self.results[-1].name == "model.layers.1.mlp.up_proj":
                raise Cancelled

    with pytest.raises(Cancelled):
        run_recipe(folder, tmp_path / "workspace", asked, progress=Stopping())
    found = run_recipe(folder, tmp_path / "workspace", asked, resume=True)
    assert sum(layer.resumed for layer in found.layers) == 7
    assert records(tmp_path / "workspace") == records(tmp_path / "undisturbed")
    layers = [layer.name for layer in found.layers]
    assert len(Workspace(str(tmp_path / "workspace")).run(found.run).layer_files) > len(layers)
    again = run_recipe(folder, tmp_path / "workspace", asked, resume=True)
    assert [layer.name for layer in again.layers if layer.resumed] == layers


def test_static_activations_are_stored_with_the_layer(tmp_path: Path) -> None:
    treatment = Treatment(Integer(bits=8, granularity="channel"), activations=Activations(mode="static"))
    asked = Recipe((Rule(("linears",), treatment),), calibration=recipe().calibration)
    run = run_recipe(SAMPLE, tmp_path, asked)
    weights = open_weights(f"run:{run.run}", str(tmp_path))
    scales = {layer.name: weights.input_scale(weights.checkpoint.layer(layer.name)) for layer in run.layers}
    assert all(scale is not None and scale.shape == (1,) and float(scale) > 0 for scale in scales.values())
    prefix = "model.layers.0.self_attn."
    assert torch.equal(scales[f"{prefix}q_proj"], scales[f"{prefix}k_proj"])  # type: ignore[arg-type]
    assert len({float(scale) for scale in scales.values() if scale is not None}) > 10


def test_transforms_without_an_architecture_are_said_to_be_left_out(tmp_path: Path) -> None:
    from tests.core.blockwise.calibrated_models import plain_tensors

    progress = Watcher()
    asked = Recipe((Rule(("all",), Treatment(Integer(group_size=8), Nearest())),), transforms=(Rotate(),))
    run = run_recipe(plain_tensors(tmp_path / "plain"), tmp_path / "workspace", asked, progress=progress)
    assert len(run.layers) == 2
    assert any("'Rotation' is not carried out" in note for note in progress.notes)
