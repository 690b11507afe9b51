"""Exports as a person meets them: what lies in the folder, what is refused, and what a failure leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import Cancelled, CheckpointError, OutputError, UserError
from benchvise.core.export.export import export, preview
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Export
from benchvise.core.protocol.results import Evaluation
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment, load_recipe
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from benchvise.core.workspace.workspace import Workspace
from tests.core.export.export_models import (
    SAMPLE,
    SIZES,
    export_run,
    fingerprint,
    integer_recipe,
    loaded_logits,
    make_run,
    save_model,
)

INT8 = integer_recipe(("linears", Integer(bits=8, granularity="channel")))
REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A workspace with one run of the sample model, and the run's id."""
    workspace = tmp_path_factory.mktemp("workspace")
    return workspace, make_run(SAMPLE, INT8, workspace)


class Remembering(NullProgress):
    """Counts units, and cancels after `limit` of them."""

    def __init__(self, limit: int | None = None) -> None:
        self.totals: list[int] = []
        self.done: list[int] = []
        self.notes: list[str] = []
        self.limit = limit

    def start(self, total: int, unit: str) -> None:
        assert unit == "bytes"
        self.totals.append(total)
        self.done.append(0)

    def advance(self, units: int) -> None:
        self.done[-1] += units
        if self.limit is not None and self.done[-1] > self.limit:
            raise Cancelled

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_nothing_of_the_input_changes(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    before = fingerprint(SAMPLE), fingerprint(workspace / "layers")
    export_run(run, tmp_path / "out", workspace)
    assert (fingerprint(SAMPLE), fingerprint(workspace / "layers")) == before


def test_the_same_run_gives_the_same_bytes(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    for name in ("a", "b"):
        export_run(run, tmp_path / name, workspace)
    first, second = ({file: found[1] for file, found in fingerprint(tmp_path / n).items()} for n in ("a", "b"))
    assert first == second


def test_progress_counts_every_byte(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    for target in ("dense", "compressed-tensors"):
        progress = Remembering()
        export(Export(run, target, str(tmp_path / target), str(workspace)), progress)
        assert progress.done == progress.totals
        tensors = load_file(tmp_path / target / "model.safetensors").values()
        assert progress.totals[0] == sum(tensor.nbytes for tensor in tensors)


def test_what_lies_beside_the_weights(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    measured = Evaluation(str(tmp_path / "x"), 3.0, 10, 1, 1, 1.0, against=str(SAMPLE))
    Workspace(str(workspace)).record_measurement(run, measured)
    exported = export_run(run, tmp_path / "out", workspace)
    beside = tmp_path / "out" / "benchvise"
    assert load_recipe(beside / "recipe.yaml").digest == INT8.digest
    described = json.loads((beside / "run.json").read_text())
    assert described["run"] == run
    assert described["treatments"]["model.layers.0.mlp.up_proj"]["scheme"]["bits"] == 8
    assert json.loads((beside / "measurements.json").read_text())["evaluation"]["perplexity"] == 3.0
    for name in ("run.json", "measurements.json"):
        assert str(tmp_path) not in (beside / name).read_text()
        assert str(SAMPLE) not in (beside / name).read_text()
    assert {"config.json", "model.safetensors", "LICENSE", "benchvise/run.json"} <= set(exported.files)
    assert exported.bytes_on_disk == sum(
        path.stat().st_size for path in (tmp_path / "out").rglob("*") if path.is_file()
    )
    summary = next(entry for entry in Workspace(str(workspace)).runs() if entry.run == run)
    assert str(tmp_path / "out") in summary.exports


def test_a_written_folder_exports_again(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    export_run(f"run:{run}", tmp_path / "packed", workspace, "compressed-tensors")
    export_run(str(tmp_path / "packed"), tmp_path / "dense", workspace, "dense")
    export_run(run, tmp_path / "direct", workspace, "dense")
    export_run(str(tmp_path / "packed"), tmp_path / "again", workspace)
    model = "model.safetensors"
    assert (tmp_path / "dense" / model).read_bytes() == (tmp_path / "direct" / model).read_bytes()
    assert (tmp_path / "again" / model).read_bytes() == (tmp_path / "packed" / model).read_bytes()
    assert "quantization_config" not in json.loads((tmp_path / "dense" / "config.json").read_text())
    assert json.loads((tmp_path / "dense" / "benchvise" / "run.json").read_text())["run"] == run


def test_pruned_layers_are_dense(tmp_path: Path) -> None:
    recipe = Recipe((Rule(("linears",), Treatment(Sparse(fraction=0.5))),))
    run = make_run(SAMPLE, recipe, tmp_path / "workspace")
    assert export_run(run, tmp_path / "out", tmp_path / "workspace").target == "dense"
    weight = load_file(tmp_path / "out" / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]
    assert float((weight == 0).float().mean()) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(OutputError, match="No layer"):
        export_run(run, tmp_path / "packed", tmp_path / "workspace", "compressed-tensors")


def test_a_checkpoint_without_an_architecture_is_written_dense(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        "a.weight": torch.randn(8, 64),
        "b": torch.randn(4, 3, 3, 3),
        "c": torch.arange(3),
        "d": torch.tensor(1.0),
    }
    tensors["e"] = torch.tensor([float("nan"), float("inf"), -0.0])
    save_file(tensors, tmp_path / "plain.safetensors")
    run = make_run(
        tmp_path / "plain.safetensors", integer_recipe(("a", Integer(granularity="channel"))), tmp_path / "ws"
    )
    with pytest.raises(OutputError, match="no architecture"):
        export_run(run, tmp_path / "packed", tmp_path / "ws", "compressed-tensors")
    assert not (tmp_path / "packed").exists()
    exported = export_run(run, tmp_path / "out", tmp_path / "ws")
    assert exported.target == "dense"
    (warning,) = sentences(exported.warnings)
    assert "no architecture" in warning
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert set(found) == set(tensors)
    for name in ("b", "c", "d", "e"):
        assert found[name].dtype == tensors[name].dtype
        assert torch.equal(found[name].nan_to_num(nan=7.0), tensors[name].nan_to_num(nan=7.0))
    assert not torch.equal(found["a.weight"], tensors["a.weight"])


def test_tensors_that_a_torch_file_shares_are_both_written(tmp_path: Path) -> None:
    shared = torch.randn(8, 64)
    torch.save({"a.weight": shared, "b.weight": shared, "c.weight": torch.randn(4, 64)}, tmp_path / "model.pt")
    run = make_run(tmp_path / "model.pt", integer_recipe(("*", Integer(granularity="channel"))), tmp_path / "ws")
    export_run(run, tmp_path / "out", tmp_path / "ws")
    found = load_file(tmp_path / "out" / "model.safetensors")
    assert set(found) == {"a.weight", "b.weight", "c.weight"}
    assert torch.equal(found["a.weight"], found["b.weight"])


def test_asymmetric_layers_keep_their_values_in_wider_codes(tmp_path: Path) -> None:
    recipe = integer_recipe(("linears", Integer(bits=3, symmetric=False, group_size=32, indivisible="divisor")))
    planned = preview(make_plan(open_checkpoint(SAMPLE), recipe), "auto")
    run = make_run(SAMPLE, recipe, tmp_path / "ws")
    progress = Remembering()
    exported = export(Export(run, "compressed-tensors", str(tmp_path / "out"), str(tmp_path / "ws")), progress)
    assert any("4-bit symmetric codes" in warning for warning in sentences(exported.warnings))
    assert progress.notes == list(sentences(exported.warnings))
    assert (planned.target, planned.plan_warnings) == (exported.target, exported.warnings), "known before the work"
    assert planned.nbytes == open_checkpoint(tmp_path / "out").nbytes
    ours, theirs = open_weights(f"run:{run}", str(tmp_path / "ws")), open_weights(str(tmp_path / "out"))
    for layer in ours.checkpoint.layers:
        mirror = theirs.checkpoint.layer(layer.name)
        assert torch.equal(ours.dense(layer), theirs.dense(mirror))


def test_refusals(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    requests: list[tuple[Export, type[UserError], str]] = [
        (Export("run:none", "dense", str(tmp_path / "out"), str(workspace)), UserError, "no run"),
        (Export(run, "compresed-tensors", str(tmp_path / "out"), str(workspace)), OutputError, "target"),
        (Export(run, "dense", str(tmp_path / "full"), str(workspace)), OutputError, "not empty"),
        (Export(run, "dense", str(SAMPLE / "out"), str(workspace)), OutputError, "input"),
        (Export(run, "dense", str(SAMPLE), str(workspace)), OutputError, "input"),
        (Export(str(SAMPLE), "dense", str(tmp_path / "out"), str(workspace)), CheckpointError, "not a run"),
    ]
    for request, kind, what in requests:
        with pytest.raises(kind, match=what) as caught:
            export(request, NullProgress())
        assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_cancelling_leaves_nothing(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    with pytest.raises(Cancelled):
        export(Export(run, "dense", str(tmp_path / "out"), str(workspace)), Remembering(limit=200_000))
    assert not list(tmp_path.iterdir())


def in_process(run: str, out: Path, workspace: Path, before: str = "") -> subprocess.Popen[str]:
    """Export in a process of its own, after the statements `before`; prints the error's sentence."""
    code = f"""
import resource, sys, time
from benchvise.core.errors import UserError
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Export
from benchvise.core.export.export import export
class Slow(NullProgress):
    def advance(self, units):
        print("written", units, flush=True)
        time.sleep({1.0 if not before else 0.0})
{before}
try:
    export(Export({run!r}, "dense", {str(out)!r}, {str(workspace)!r}), Slow())
except UserError as error:
    print("refused:", error, flush=True)
    sys.exit(3)
"""
    return subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def test_killed_while_writing(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    process = in_process(run, tmp_path / "out", workspace)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("written")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    assert len(list(tmp_path.iterdir())) == 1
    export_run(run, tmp_path / "out", workspace)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process are POSIX")
def test_a_file_that_grows_too_large(tmp_path: Path, finished: tuple[Path, str]) -> None:
    workspace, run = finished
    limit = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    process = in_process(run, tmp_path / "out", workspace, limit)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 3, output
    assert "refused: A file became larger" in output
    assert not list(tmp_path.iterdir())


def mounted(place: Path) -> bool:
    return (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode == 0
    )


@pytest.mark.parametrize("known", [True, False], ids=["seen before", "while writing"])
def test_disk_full(tmp_path: Path, finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    workspace, run = finished
    disk = tmp_path / "disk"
    disk.mkdir()
    if sys.platform == "win32" or os.geteuid() != 0 or not mounted(disk):
        pytest.skip("a disk of 1 MB can only be mounted as root")
    try:
        if not known:
            monkeypatch.setattr("benchvise.core.export.export.require_space", lambda *_: None)
        with pytest.raises(OutputError, match="bytes left" if known else "disk is full") as caught:
            export_run(run, disk / "out", workspace, "dense")
        assert caught.value.remedy
        assert not list(disk.iterdir())
    finally:
        subprocess.run(["umount", disk], check=True)


def test_large_checkpoints_are_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = save_model(tmp_path / "model", "Llama", torch.bfloat16, **SIZES)
    run = make_run(checkpoint, INT8, tmp_path / "ws")
    monkeypatch.setattr("benchvise.core.export.shards.SHARD_BYTES", 50_000)
    exported = export_run(run, tmp_path / "out", tmp_path / "ws")
    assert "model.safetensors.index.json" in exported.files
    assert torch.isfinite(loaded_logits(tmp_path / "out")).all()
    ours, theirs = open_weights(f"run:{run}", str(tmp_path / "ws")), open_weights(str(tmp_path / "out"))
    for layer in ours.checkpoint.layers:
        assert torch.equal(ours.dense(layer), theirs.dense(theirs.checkpoint.layer(layer.name)))
