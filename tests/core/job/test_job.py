"""What a job leaves in the workspace, against the safetensors library and the layers treated one by one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import Cancelled, CheckpointError, RecipeError
from benchvise.core.methods.integer import Integer
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.weights.open import open_weights
from benchvise.core.workspace.run_lock import RunBusyError
from benchvise.core.workspace.run_record import record_file
from benchvise.core.workspace.workspace import Workspace
from tests.core.compress.treated_weight import treated_weight
from tests.core.job.compress_samples import (
    GLOBAL,
    INT4,
    MIXED,
    Watcher,
    cancel,
    digests,
    manifests,
    network,
    records,
    run_recipe,
    small_blocks,
    timeless,
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return network(tmp_path_factory.mktemp("checkpoint"))


def test_records_hold_exactly_what_the_plan_says(checkpoint: Path, tmp_path: Path) -> None:
    run = run_recipe(checkpoint, tmp_path)
    plan = make_plan(open_checkpoint(checkpoint), MIXED)
    assert [layer.name for layer in run.layers] == [row.layer.name for row in plan.treated_rows]
    files = Workspace(str(tmp_path)).run(run.run).layer_files
    for row, layer in zip(plan.treated_rows, run.layers, strict=True):
        stored = load_file(files[layer.name])
        found = {name: (str(tensor.dtype), tuple(tensor.shape)) for name, tensor in stored.items()}
        storage = row.treatment.scheme.storage(row.layer)
        assert found == {tensor.name: (f"torch.{tensor.dtype}", tensor.shape) for tensor in storage}
        assert sum(tensor.nbytes for tensor in stored.values()) == layer.bytes_after == row.bytes_after
        assert layer.bits_per_weight == 8 * row.bytes_after / row.layer.parameters
        assert (layer.treatment, layer.bytes_before) == (row.treatment.tag, row.layer.nbytes)
    assert (run.bytes_before, run.bytes_after) == (plan.bytes_before, plan.bytes_after)
    assert run.bits_per_weight == pytest.approx(8 * plan.bytes_after / plan.checkpoint.parameters)


def test_quality_is_that_of_the_decoded_weights(checkpoint: Path, tmp_path: Path) -> None:
    run = run_recipe(checkpoint, tmp_path)
    weights = open_weights(f"run:{run.run}", str(tmp_path))
    originals = load_file(checkpoint / "model.safetensors")
    for layer in run.layers:
        decoded = weights.dense(weights.checkpoint.layer(layer.name)).double().numpy()
        original = originals[f"{layer.name}.weight"].double().numpy()
        error = decoded - original
        assert layer.sqnr_db == pytest.approx(10 * np.log10((original**2).sum() / (error**2).sum()), abs=1e-9)
        assert layer.max_error == np.abs(error).max()
        assert layer.zeros == (decoded == 0).sum()


def test_layers_are_as_if_treated_alone(checkpoint: Path, tmp_path: Path) -> None:
    run = run_recipe(checkpoint, tmp_path)
    weights = open_weights(f"run:{run.run}", str(tmp_path))
    for layer in weights.checkpoint.layers:
        treatment = weights.treatment(layer)
        if treatment != GLOBAL:
            assert torch.equal(weights.dense(layer), treated_weight(layer, treatment)), layer.name


def test_a_global_fraction_counts_all_layers_of_its_rule(checkpoint: Path, tmp_path: Path) -> None:
    run = run_recipe(checkpoint, tmp_path)
    pruned = [layer for layer in run.layers if layer.treatment == GLOBAL.tag]
    assert len(pruned) == 2
    assert sum(layer.zeros for layer in pruned) == round(0.4 * 2 * 64 * 64)
    originals = load_file(checkpoint / "model.safetensors")
    flat = np.concatenate([originals[f"{layer.name}.weight"].double().abs().numpy().reshape(-1) for layer in pruned])
    smallest = np.zeros(flat.size, bool)
    smallest[np.argsort(flat, kind="stable")[: round(0.4 * flat.size)]] = True
    weights = open_weights(f"run:{run.run}", str(tmp_path))
    found = np.concatenate([(weights.dense(weights.checkpoint.layer(layer.name)) == 0).reshape(-1) for layer in pruned])
    np.testing.assert_array_equal(found, smallest)


def test_run_and_journal(checkpoint: Path, tmp_path: Path) -> None:
    progress = Watcher()
    run = run_recipe(checkpoint, tmp_path, progress=progress)
    (manifest,) = manifests(tmp_path)
    assert manifest["state"] == "done"
    assert (manifest["run"], manifest["checkpoint"], manifest["recipe_name"]) == (run.run, str(checkpoint), "mixed")
    assert manifest["seconds"] == run.seconds > 0
    assert manifest["peak_rss_bytes"] == run.peak_rss_bytes > 10e6
    (folder,) = (tmp_path / "runs").iterdir()
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert [line["result"]["name"] for line in lines] == [layer.name for layer in run.layers]
    assert all(record_file(tmp_path / "layers", line["key"]).is_file() for line in lines)
    assert tuple(progress.results) == run.layers
    assert progress.done == progress.total == sum(layer.bytes_before for layer in run.layers)
    record = Workspace(str(tmp_path)).run(run.run)
    assert record.recipe == MIXED
    assert record.result == run


def test_two_runs_leave_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    before = digests(checkpoint)
    first, second = (run_recipe(checkpoint, tmp_path / name) for name in ("one", "two"))
    assert records(tmp_path / "one") == records(tmp_path / "two")
    assert timeless(first) == timeless(second)
    assert first.run != second.run
    assert digests(checkpoint) == before, "the input is never written to"


def test_equal_treatments_of_two_runs_share_their_records(checkpoint: Path, tmp_path: Path) -> None:
    run_recipe(checkpoint, tmp_path, Recipe((Rule(("linears",), INT4),)))
    before = records(tmp_path)
    run_recipe(checkpoint, tmp_path, Recipe((Rule(("re:.*mlp.*",), INT4),)))
    assert records(tmp_path) == before


def test_cancel_and_resume(checkpoint: Path, tmp_path: Path) -> None:
    whole = Watcher()
    expected = run_recipe(checkpoint, tmp_path / "whole", progress=whole)
    for at in range(1, whole.calls + 1, 11):
        workspace = tmp_path / str(at)
        with pytest.raises(Cancelled):
            run_recipe(checkpoint, workspace, progress=Watcher(at, cancel))
        (manifest,) = manifests(workspace)
        assert manifest["state"] == "cancelled"
        assert not list(workspace.rglob("*.partial"))
        finished = Workspace(str(workspace)).run(str(manifest["run"])).journal()
        progress = Watcher()
        found = run_recipe(checkpoint, workspace, resume=True, progress=progress)
        assert [layer.name for layer in progress.results if layer.resumed] == [entry.result.name for entry in finished]
        assert [layer.name for layer in found.layers if layer.resumed] == [entry.result.name for entry in finished]
        assert timeless(found) == timeless(expected)
        assert records(workspace) == records(tmp_path / "whole")
        assert found.run == manifest["run"]
        assert "Resuming run" in "".join(progress.notes)


def test_without_resume_it_starts_afresh_and_says_so(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        run_recipe(checkpoint, tmp_path, progress=Watcher(30, cancel))
    progress = Watcher()
    run = run_recipe(checkpoint, tmp_path, progress=progress)
    assert not any(layer.resumed for layer in progress.results)
    assert "stays unfinished" in "".join(progress.notes)
    assert sorted(str(manifest["state"]) for manifest in manifests(tmp_path)) == ["cancelled", "done"]
    again = Watcher()
    assert run_recipe(checkpoint, tmp_path, resume=True, progress=again).run == run.run
    assert all(layer.resumed for layer in again.results), "a finished run is taken up as well"


def test_resume_without_an_earlier_run_says_so(checkpoint: Path, tmp_path: Path) -> None:
    progress = Watcher()
    run_recipe(checkpoint, tmp_path, resume=True, progress=progress)
    assert "no earlier run" in "".join(progress.notes)


def test_damaged_and_missing_records_are_computed_again(checkpoint: Path, tmp_path: Path) -> None:
    run = run_recipe(checkpoint, tmp_path)
    expected = records(tmp_path)
    files = list(Workspace(str(tmp_path)).run(run.run).layer_files.values())
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:-5])
    files[2].write_bytes(b"")
    content = files[3].read_bytes()
    files[3].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # one bit of one weight
    progress = Watcher()
    found = run_recipe(checkpoint, tmp_path, resume=True, progress=progress)
    assert [layer.resumed for layer in progress.results] == [False] * 4 + [True] * (len(run.layers) - 4)
    assert records(tmp_path) == expected
    assert timeless(found) == timeless(run)


def test_a_run_under_way_is_not_taken_up_a_second_time(checkpoint: Path, tmp_path: Path) -> None:
    refused: list[RunBusyError] = []

    def again() -> None:
        with pytest.raises(RunBusyError) as caught:
            run_recipe(checkpoint, tmp_path, resume=True)
        refused.append(caught.value)

    run = run_recipe(checkpoint, tmp_path, progress=Watcher(30, again))
    assert str(os.getpid()) in refused[0].what
    assert not list(tmp_path.rglob("lock"))
    assert [found.run for found in Workspace(str(tmp_path)).runs()] == [run.run]


def test_two_that_found_the_same_run_do_not_both_take_it_up(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        run_recipe(checkpoint, tmp_path, progress=Watcher(30, cancel))
    plan = make_plan(open_checkpoint(checkpoint), MIXED)
    first, second = (Workspace(str(tmp_path)).resumable(plan) for _ in range(2))
    assert first is not None
    assert second is not None
    first.take_up()
    with pytest.raises(RunBusyError):
        second.take_up()
    first.update(state="done")
    first.leave()
    second.take_up()
    assert second.state == "done", "what the first has made of it is seen"
    second.leave()


def test_what_killed_processes_left_is_removed(checkpoint: Path, tmp_path: Path) -> None:
    run = run_recipe(checkpoint, tmp_path)
    record = next(iter(Workspace(str(tmp_path)).run(run.run).layer_files.values()))
    stale = record.with_name(f".{record.name}.4194305.partial")
    stale.write_bytes(b"half")
    record.unlink()
    run_recipe(checkpoint, tmp_path, resume=True)
    assert record.is_file()
    assert not stale.exists()


def test_a_changed_checkpoint_is_another_one(tmp_path: Path) -> None:
    checkpoint = network(tmp_path / "checkpoint")
    workspace = tmp_path / "workspace"
    run = run_recipe(checkpoint, workspace)
    network(checkpoint, seed=1)
    with pytest.raises(CheckpointError, match="changed since"):
        open_weights(f"run:{run.run}", str(workspace))
    progress = Watcher()
    assert run_recipe(checkpoint, workspace, resume=True, progress=progress).run != run.run
    assert not any(layer.resumed for layer in progress.results)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("treatment", [INT4, GLOBAL, MIXED.rules[1].treatment, MIXED.rules[3].treatment])
def test_weights_that_are_no_numbers(bad: float, treatment: Treatment, tmp_path: Path) -> None:
    checkpoint, workspace = network(tmp_path / "checkpoint"), tmp_path / "workspace"
    tensors = load_file(checkpoint / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][50, 3] = bad
    save_file(tensors, checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError) as raised:
        run_recipe(checkpoint, workspace, Recipe((Rule(("linears",), treatment),)))
    assert "'model.layers.1.mlp.down_proj'" in raised.value.what
    assert "row 50" in raised.value.what
    assert "ignore" in raised.value.remedy
    (manifest,) = manifests(workspace)
    assert manifest["state"] == "failed"
    assert not list(workspace.rglob("*.partial"))
    ignoring = Recipe((Rule(("linears",), treatment, ("model.layers.1.mlp.down_proj",)),))
    assert len(run_recipe(checkpoint, workspace, ignoring).layers) == 7


def test_float64_weights_beyond_float32(tmp_path: Path) -> None:
    save_file({"a.weight": torch.full((4, 16), 1e39, dtype=torch.float64)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"'a' holds 1e\+39, too large for float32"):
        run_recipe(tmp_path, tmp_path / "workspace", Recipe((Rule(("all",), INT4),)))


def test_empty_scalar_and_integer_tensors_stay(tmp_path: Path) -> None:
    tensors = {
        "a.weight": torch.randn(16, 32),
        "empty.weight": torch.zeros(0, 32),
        "no_inputs.weight": torch.zeros(16, 0),
        "scale": torch.tensor(2.5),
        "ids": torch.arange(64).reshape(2, 32),
        "flags": torch.tensor([[True] * 32]),
        "norm.weight": torch.ones(32),
    }
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    save_file(tensors, checkpoint / "model.safetensors")
    run = run_recipe(checkpoint, tmp_path / "workspace", Recipe((Rule(("all",), INT4),)))
    assert [layer.name for layer in run.layers] == ["a"]
    weights = open_weights(f"run:{run.run}", str(tmp_path / "workspace"))
    for layer in weights.checkpoint.layers:
        assert weights.treatment(layer).keeps == (layer.name != "a")
        if layer.name != "a":
            assert torch.equal(weights.dense(layer), tensors[layer.tensor.name])


def test_plans_that_cannot_be_carried_out_write_nothing(checkpoint: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    with pytest.raises(RecipeError, match="treats no layer"):
        run_recipe(checkpoint, workspace, Recipe((Rule(("nothing",), INT4),)))
    with pytest.raises(RecipeError, match="does not divide"):
        run_recipe(checkpoint, workspace, Recipe((Rule(("linears",), Treatment(Integer(group_size=48))),)))
    quantised = tmp_path / "quantised"
    network(quantised)
    (quantised / "config.json").write_text('{"quantization_config": {"quant_method": "gptq"}}')
    with pytest.raises(CheckpointError, match="already quantised"):
        run_recipe(quantised, workspace)
    assert not workspace.exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_other_dtypes_decode_in_their_own(dtype: torch.dtype, tmp_path: Path) -> None:
    checkpoint = network(tmp_path / "checkpoint", depth=1, dtype=dtype)
    run = run_recipe(checkpoint, tmp_path / "workspace")
    weights = open_weights(f"run:{run.run}", str(tmp_path / "workspace"))
    for layer in weights.checkpoint.layers:
        assert weights.dense(layer).dtype == dtype
        assert {rows.dtype for _, rows in weights.dense_blocks(layer)} == {dtype}
