"""Weights by their source: as they were, and as a run left them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.job.job import compress
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.weights.open import open_weights
from benchvise.core.workspace.workspace import Workspace
from tests.core.compress.treated_weight import treated_weight

GROUPS = Treatment(Integer(bits=3, symmetric=False, group_size=8))
WHOLE = Treatment(Integer(bits=5, symmetric=False, granularity="tensor"))
PRUNED = Treatment(Sparse(fraction=0.25))
RECIPE = Recipe(
    (Rule(("re:h.*", "re:conv.*", "re:.*experts.*"), GROUPS), Rule(("*c_fc*",), PRUNED), Rule(("wte",), WHOLE))
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """GPT-2's transposed weights, a convolution, experts in one tensor, a vector, a scalar, nothing at all."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "wte.weight": (40, 16),
        "h.0.attn.c_attn.weight": (16, 48),
        "h.0.mlp.c_fc.weight": (16, 64),
        "conv1.weight": (6, 4, 2, 3),
        "model.layers.0.mlp.experts.down_proj": (3, 5, 16),
        "h.0.ln_1.weight": (16,),
        "scale": (),
        "nothing.weight": (0, 8),
    }
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    tensors = {name: torch.randn(shape, generator=generator).bfloat16() for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    return folder


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    return str(tmp_path / "workspace")


@pytest.fixture
def run(checkpoint: Path, workspace: str) -> str:
    return f"run:{compress(Compress(str(checkpoint), RECIPE, workspace), NullProgress()).run}"


def test_an_original_is_as_it_is(checkpoint: Path) -> None:
    weights, tensors = open_weights(str(checkpoint)), load_file(checkpoint / "model.safetensors")
    assert weights.stored_bytes == sum(tensor.nbytes for tensor in tensors.values())
    for layer in weights.checkpoint.layers:
        original = tensors[layer.tensor.name]
        assert weights.treatment(layer) == KEEP
        assert torch.equal(weights.dense(layer), original)
        assert torch.equal(weights.stored(layer)["weight"], original)


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 20])
def test_blocks_are_the_rows_of_the_matrix(checkpoint: Path, run: str, workspace: str, block_bytes: int) -> None:
    for source in (str(checkpoint), run):
        weights = open_weights(source, workspace)
        for layer in weights.checkpoint.layers:
            blocks = list(weights.dense_blocks(layer, block_bytes))
            if not layer.parameters:
                continue
            matrix = torch.cat([block for _, block in blocks])
            assert tuple(matrix.shape) == layer.matrix_shape
            assert [start for start, _ in blocks] == [sum(len(b) for _, b in blocks[:n]) for n in range(len(blocks))]
            dense = weights.dense(layer)
            assert torch.equal(matrix, dense.T if layer.transposed else dense.reshape(layer.matrix_shape))


def test_a_run_is_what_its_treatments_make(checkpoint: Path, run: str, workspace: str) -> None:
    weights, tensors = open_weights(run, workspace), load_file(checkpoint / "model.safetensors")
    assert weights.source == run
    assert weights.checkpoint == open_checkpoint(checkpoint)
    expected = {
        "wte": WHOLE,
        "h.0.attn.c_attn": GROUPS,
        "h.0.mlp.c_fc": PRUNED,
        "conv1": GROUPS,
        "model.layers.0.mlp.experts.down_proj": GROUPS,
    }
    stored_bytes = 0
    for layer in weights.checkpoint.layers:
        treatment = expected.get(layer.name, KEEP)
        assert weights.treatment(layer) == treatment, layer.name
        dense = weights.dense(layer)
        assert (dense.shape, dense.dtype) == (tensors[layer.tensor.name].shape, torch.bfloat16)
        assert torch.equal(dense, treated_weight(layer, treatment))
        stored = weights.stored(layer)
        stored_bytes += sum(tensor.nbytes for tensor in stored.values())
        if layer.name in expected:
            names = {name: tuple(tensor.shape) for name, tensor in stored.items()}
            assert names == {tensor.name: tensor.shape for tensor in treatment.scheme.storage(layer)}
    assert weights.stored_bytes == stored_bytes


def test_a_pruned_transposed_weight_is_stored_as_its_matrix(run: str, workspace: str) -> None:
    weights = open_weights(run, workspace)
    layer = weights.checkpoint.layer("h.0.mlp.c_fc")
    assert layer.transposed
    assert torch.equal(weights.stored(layer)["weight"], weights.dense(layer).T)


def test_unfinished_runs_are_refused(run: str, workspace: str) -> None:
    record = Workspace(workspace).run(run)
    record.enter()
    for state in ("failed", "cancelled", "running"):
        record.update(state=state)
        with pytest.raises(CheckpointError, match=f"not finished.*{state}"):
            open_weights(run, workspace)
    record.leave()
    with pytest.raises(CheckpointError, match="interrupted"):
        open_weights(run, workspace)
    record.update(pid=4194305)
    with pytest.raises(CheckpointError, match="interrupted"):
        open_weights(run, workspace)
    with pytest.raises(UserError, match="There is no run"):
        open_weights("run:nothing", workspace)


def test_the_checkpoint_must_be_there_and_the_same(checkpoint: Path, run: str, workspace: str) -> None:
    content = (checkpoint / "model.safetensors").read_bytes()
    (checkpoint / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="changed since the run was made"):
        open_weights(run, workspace)
    shutil.rmtree(checkpoint)
    with pytest.raises(CheckpointError, match="not there any more"):
        open_weights(run, workspace)


def test_missing_records_are_told_and_can_be_made_again(checkpoint: Path, run: str, workspace: str) -> None:
    weights = open_weights(run, workspace)
    layer = weights.checkpoint.layer("conv1")
    before = weights.dense(layer)
    Workspace(workspace).run(run).layer_files["conv1"].unlink()
    with pytest.raises(CheckpointError, match="'conv1' is missing") as raised:
        weights.dense(layer)
    assert "--resume" in raised.value.remedy
    compress(Compress(str(checkpoint), RECIPE, workspace, resume=True), NullProgress())
    assert torch.equal(open_weights(run, workspace).dense(layer), before)
