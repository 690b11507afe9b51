"""What the window asks about one layer, against numpy over the weights before and after."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchvise.core.analysis.look import look, look_channels, look_map
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.job.job import compress
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Look, LookChannels, LookMap
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.surgery.derived import Cut, Derived
from benchvise.core.surgery.operate import OPERATIONS
from benchvise.core.surgery.operation import Operation
from benchvise.core.weights.open import open_weights
from tests.core.compress.treated_weight import treated_weight

SILENT = NullProgress()
INT3 = Treatment(Integer(bits=3, symmetric=False, group_size=8), Nearest(clip_search=True, clip_steps=5))
TENSOR = Treatment(Integer(bits=2, granularity="tensor"))
RECIPE = Recipe((Rule(("h.0.attn.c_attn", "embed"), INT3), Rule(("h.1.*",), Treatment(Sparse(fraction=0.5)))))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("look")
    rng = np.random.default_rng(0)
    shapes = {"h.0.attn.c_attn": (16, 24), "h.1.attn.c_attn": (16, 24), "embed": (40, 16), "norm": (16,)}
    tensors = {
        f"{name}.weight": torch.from_numpy(rng.standard_t(4, shape) * 0.1).bfloat16() for name, shape in shapes.items()
    }
    tensors["ids"] = torch.arange(12).reshape(3, 4)
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def run(checkpoint: Path, workspace: str) -> str:
    return f"run:{compress(Compress(str(checkpoint), RECIPE, workspace), SILENT).run}"


def original(checkpoint: Path, name: str) -> np.ndarray:
    """As the matrix [outputs, inputs], float64."""
    values = load_file(checkpoint / "model.safetensors")[f"{name}.weight"].double().numpy()
    return values.T if "c_attn" in name else values


def test_a_weight_alone(checkpoint: Path) -> None:
    for name in ("h.0.attn.c_attn", "embed", "norm"):
        looked = look(Look(str(checkpoint), name, bins=20), SILENT)
        counts, edges = np.histogram(original(checkpoint, name), 20)
        np.testing.assert_array_equal(looked.before.counts, counts)
        np.testing.assert_array_equal(looked.before.edges, edges)
        assert looked.statistics.count == counts.sum()
        assert (looked.after, looked.statistics_after, looked.grid, looked.sqnr_db) == (None,) * 4


@pytest.mark.parametrize("name", ["h.0.attn.c_attn", "embed"])
def test_before_and_after_a_run(checkpoint: Path, run: str, workspace: str, name: str) -> None:
    weights = open_weights(run, workspace)
    dense = weights.dense(weights.checkpoint.layer(name)).double().numpy()
    after = dense.T if "c_attn" in name else dense
    before = original(checkpoint, name)
    looked = look(Look(str(checkpoint), name, bins=30, after=run, workspace=workspace), SILENT)
    low, high = min(before.min(), after.min()), max(before.max(), after.max())
    assert looked.after is not None
    np.testing.assert_array_equal(looked.before.edges, looked.after.edges)
    for histogram, values in ((looked.before, before), (looked.after, after)):
        np.testing.assert_array_equal(histogram.counts, np.histogram(values, 30, range=(low, high))[0])
    assert looked.sqnr_db == pytest.approx(10 * np.log10((before**2).sum() / ((after - before) ** 2).sum()))
    assert looked.statistics_after is not None
    assert looked.statistics_after.zeros == (after == 0).sum()
    tried = look(Look(str(checkpoint), name, bins=30, after=INT3), SILENT)
    np.testing.assert_array_equal(tried.after and tried.after.counts, looked.after.counts)
    np.testing.assert_array_equal(tried.grid, looked.grid)
    assert tried.sqnr_db == looked.sqnr_db


def test_the_grid_is_cut_to_what_is_shown(checkpoint: Path) -> None:
    whole = look(Look(str(checkpoint), "embed", after=TENSOR), SILENT)
    assert whole.grid is not None
    assert whole.after is not None
    taken = treated_weight(open_checkpoint(checkpoint).layer("embed"), TENSOR).unique().double().numpy()
    assert np.isin(taken, whole.grid).all()
    assert (np.diff(whole.grid) > 0).all()
    part = look(Look(str(checkpoint), "embed", bounds=(-0.05, 0.05), after=TENSOR), SILENT)
    assert part.grid is not None
    assert part.grid.tolist() == [level for level in whole.grid if -0.05 <= level <= 0.05]
    assert (part.before.edges[0], part.before.edges[-1]) == (-0.05, 0.05)
    assert look(Look(str(checkpoint), "embed", after=Treatment(Sparse())), SILENT).grid is None


@pytest.mark.parametrize("after", [KEEP, "run"])
def test_a_layer_that_stays_is_its_own_after(
    checkpoint: Path, run: str, workspace: str, after: str | Treatment
) -> None:
    asked = run if after == "run" else after
    looked = look(Look(str(checkpoint), "norm", after=asked, workspace=workspace), SILENT)
    assert looked.after == looked.before
    assert looked.sqnr_db is None
    mapped = look_map(LookMap(str(checkpoint), "norm", after=asked, workspace=workspace), SILENT)
    assert mapped.error is not None
    assert not mapped.error.values.any()


def test_maps_show_the_matrix_and_its_error(checkpoint: Path, run: str, workspace: str) -> None:
    name = "h.1.attn.c_attn"
    weights = open_weights(run, workspace)
    error = weights.dense(weights.checkpoint.layer(name)).double().numpy().T - original(checkpoint, name)
    mapped = look_map(LookMap(str(checkpoint), name, after=run, workspace=workspace), SILENT)
    np.testing.assert_array_equal(mapped.weight.values, original(checkpoint, name).astype(np.float32))
    assert mapped.error is not None
    np.testing.assert_array_equal(mapped.error.values, error.astype(np.float32))
    assert look_map(LookMap(str(checkpoint), name), SILENT).error is None


def test_channels_are_outputs_and_inputs(checkpoint: Path) -> None:
    values = original(checkpoint, "h.0.attn.c_attn")
    looked = look_channels(LookChannels(str(checkpoint), "h.0.attn.c_attn"), SILENT)
    np.testing.assert_array_equal(looked.outputs.maximum, values.max(1).astype(np.float32))
    np.testing.assert_array_equal(looked.inputs.minimum, values.min(0).astype(np.float32))


def test_what_cannot_be_looked_at(checkpoint: Path, run: str, workspace: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no layer 'embet'") as raised:
        look(Look(str(checkpoint), "embet"), SILENT)
    assert "Did you mean embed" in raised.value.remedy
    with pytest.raises(CheckpointError, match="no floating-point matrix"):
        look(Look(str(checkpoint), "ids", after=TENSOR), SILENT)
    save_file({"embed.weight": torch.zeros(8, 16)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"float32 \[8, 16\] here, and bfloat16 \[40, 16\] there"):
        look(Look(str(tmp_path), "embed", after=run, workspace=workspace), SILENT)


def test_what_surgery_would_leave_is_looked_at_before_a_run(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are those of the checkpoint as it was opened; what was cut is looked at as it is left."""
    kept = (1, 4, 6, 11)

    class Cutting(Operation[DropBlocks]):
        def plan(self, checkpoint: Checkpoint, settings: DropBlocks) -> Derived:
            layers = list(checkpoint.layers)
            place = next(index for index, layer in enumerate(layers) if layer.name == "h.1.attn.c_attn")
            origins = tuple(index for index, layer in enumerate(layers) if layer.name != "embed")
            entry = replace(layers[place].tensor, shape=(16, len(kept)), cut="cut", name="h.0.moved.weight")
            cut = replace(layers[place], tensor=entry, name="h.0.moved")
            left = tuple(cut if index == place else layers[index] for index in origins)
            cuts = {cut.name: (Cut(1, len(kept), kept if settings.blocks == (1,) else None),)}
            return Derived(checkpoint, replace(checkpoint, layers=left), origins, cuts)

    monkeypatch.setitem(OPERATIONS, DropBlocks, Cutting())
    surgery = (DropBlocks(blocks=(1,)),)
    weight = load_file(checkpoint / "model.safetensors")["h.1.attn.c_attn.weight"].float().numpy()
    found = look(Look(str(checkpoint), "h.1.attn.c_attn", after=TENSOR, surgery=surgery), SILENT)
    assert found.layer == "h.1.attn.c_attn"
    assert found.before.counts.sum() == 16 * len(kept)
    assert found.statistics.mean == pytest.approx(weight[:, kept].mean(), rel=1e-4)
    assert found.after is not None
    seen = look_map(LookMap(str(checkpoint), "h.1.attn.c_attn", surgery=surgery), SILENT)
    assert np.allclose(seen.weight.values, weight[:, kept].T, atol=1e-6)
    with pytest.raises(CheckpointError, match="leaves nothing"):
        look(Look(str(checkpoint), "embed", surgery=surgery), SILENT)
    with pytest.raises(CheckpointError, match="decided in the run"):
        look(Look(str(checkpoint), "h.1.attn.c_attn", surgery=(DropBlocks(blocks=(2,)),)), SILENT)
