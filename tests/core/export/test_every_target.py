"""What every export target keeps to, our own and one that a test registers."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from safetensors.torch import load_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import Cancelled, OutputError
from benchvise.core.export.choose_target import choose_plan, key_for
from benchvise.core.export.export import export, preview
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.target import Target
from benchvise.core.export.targets.registry import AUTO, TARGETS, target_of
from benchvise.core.methods.integer import Integer
from benchvise.core.preflight.check import check_recipe
from benchvise.core.preflight.facts import Facts
from benchvise.core.preflight.runtimes import RUNTIMES
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import CheckRecipe, Export
from benchvise.core.recipe.plan import make_plan
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights
from benchvise.core.wording import sentences
from tests.core.export.export_models import SIZES, export_run, fingerprint, integer_recipe, make_run, save_model
from tests.core.export.npz_target import NeedsPackage, Npz, registered

RECIPE = integer_recipe(
    ("linears", Integer(8, granularity="channel")),
    ("*.mlp.down_proj", Integer(3, symmetric=False, granularity="channel")),
    ("*.self_attn.o_proj", Integer(4, symmetric=False, group_size=32)),
)
ALL = [*(key for key in TARGETS if not target_of(key).converted), Npz.key]
PLACES = 24
"""How many bytes of each file are changed, one at a time."""


@pytest.fixture(scope="module", autouse=True)
def third_target() -> Iterator[None]:
    with registered(Npz):
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A checkpoint with a tokenizer's file beside it, a workspace and a run of it."""
    folder = tmp_path_factory.mktemp("targets")
    checkpoint = save_model(folder / "model", "Llama", torch.float32, **SIZES, tie_word_embeddings=False)
    (checkpoint / "tokenizer_config.json").write_text("{}")
    return checkpoint, folder / "workspace", make_run(checkpoint, RECIPE, folder / "workspace")


def out_of(target: Target, folder: Path, name: str = "out") -> Path:
    return folder / f"{name}{target.suffix}"


def run_weights(workspace: Path, run: str) -> Weights:
    return open_weights(f"run:{run}", str(workspace))


def plan_of(target: Target, weights: Weights) -> ExportPlan:
    return target.plan(weights.checkpoint, weights.treatment)


def read(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Dtype and shape of every tensor, by the reader of the format's own library."""
    found: dict[str, Any] = {}
    if path.suffix == ".npz":
        found = dict(np.load(path))
    elif path.suffix == ".gguf":
        found = {tensor.name: tensor.data for tensor in GGUFReader(path).tensors}
    else:
        for file in path.glob("*.safetensors"):
            found |= load_file(file)
    return {name: (str(each.dtype).removeprefix("torch."), tuple(each.shape)) for name, each in found.items()}


def contents(path: Path) -> dict[str, str]:
    return {"": path.read_bytes().hex()} if path.is_file() else {n: each[1] for n, each in fingerprint(path).items()}


def size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else sum(each.stat().st_size for each in path.iterdir())


@pytest.mark.parametrize("key", ALL)
def test_what_is_declared_is_written(tmp_path: Path, finished: tuple[Path, Path, str], key: str) -> None:
    checkpoint, workspace, run = finished
    target = target_of(key)
    planned = preview(make_plan(open_checkpoint(checkpoint), RECIPE), key)
    export_run(run, out_of(target, tmp_path), workspace, key)
    declared = {tensor.name: (tensor.dtype, tensor.shape) for tensor in planned.tensors()}
    assert read(out_of(target, tmp_path)) == declared
    assert planned.nbytes == sum(np.prod(shape) * np.dtype(dtype).itemsize for dtype, shape in declared.values())
    weights = run_weights(workspace, run)
    bare = tmp_path / "bare" if target.suffix else tmp_path / "bare" / "folder"
    bare.mkdir(parents=True)
    place = out_of(target, bare) if target.suffix else bare
    plan = plan_of(target, weights)
    target.write(place, plan, weights, NullProgress())
    assert size_of(place) == target.disk_bytes(plan)


@pytest.mark.parametrize("key", ALL)
def test_any_changed_byte_is_found(tmp_path: Path, finished: tuple[Path, Path, str], key: str) -> None:
    _, workspace, run = finished
    target, weights = target_of(key), run_weights(workspace, run)
    plan = plan_of(target, weights)
    place = out_of(target, tmp_path) if target.suffix else tmp_path
    target.write(place, plan, weights, NullProgress())
    target.verify(place, plan, weights, NullProgress())
    for path in [place] if place.is_file() else sorted(place.iterdir()):
        whole = path.read_bytes()
        for at in {0, len(whole) - 1, *range(0, len(whole), max(1, len(whole) // PLACES))}:
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with pytest.raises(RuntimeError):
                target.verify(place, plan, weights, NullProgress())
        path.write_bytes(whole[:-1])
        with pytest.raises(RuntimeError):
            target.verify(place, plan, weights, NullProgress())
        path.write_bytes(whole)
    target.verify(place, plan, weights, NullProgress())


class Failing(NullProgress):
    """Fails at the `number`-th step."""

    def __init__(self, error: BaseException, number: int) -> None:
        self.error, self.left = error, number

    def advance(self, units: int) -> None:  # noqa: ARG002 - steps are counted
        self.left -= 1
        if self.left == 0:
            raise self.error


@pytest.mark.parametrize("key", ALL)
@pytest.mark.parametrize("number", [1, 5, 30], ids=["first", "early", "late"])
@pytest.mark.parametrize(
    ("error", "seen"),
    [(Cancelled(), Cancelled), (OSError(errno.ENOSPC, "full"), OutputError), (RuntimeError(), RuntimeError)],
    ids=["cancelled", "full", "fault"],
)
def test_a_failure_leaves_nothing(
    tmp_path: Path,
    finished: tuple[Path, Path, str],
    key: str,
    number: int,
    error: BaseException,
    seen: type[BaseException],
) -> None:
    _, workspace, run = finished
    request = Export(run, key, str(out_of(target_of(key), tmp_path / "new")), str(workspace))
    with pytest.raises(seen):
        export(request, Failing(error, number))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", ALL)
def test_what_is_there_stays(tmp_path: Path, finished: tuple[Path, Path, str], key: str) -> None:
    _, workspace, run = finished
    out = out_of(target_of(key), tmp_path)
    out.write_text("mine")
    with pytest.raises(OutputError):
        export_run(run, out, workspace, key)
    assert out.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("key", ALL)
def test_twice_the_same(tmp_path: Path, finished: tuple[Path, Path, str], key: str) -> None:
    _, workspace, run = finished
    first, second = (out_of(target_of(key), tmp_path, name) for name in ("first", "second"))
    for out in (first, second):
        export_run(run, out, workspace, key)
    assert contents(first) == contents(second)


@pytest.mark.parametrize("key", ALL)
def test_the_declaration_is_complete(key: str) -> None:
    target = target_of(key)
    assert all((target.title, target.summary, target.source, target.loaded_by, target.action))
    assert set(target.runtimes) <= RUNTIMES.keys()
    assert not target.suffix or target.suffix.startswith(".")


def test_companions_lie_beside_a_folder_only(tmp_path: Path, finished: tuple[Path, Path, str]) -> None:
    _, workspace, run = finished
    exported = export_run(run, tmp_path / "one.npz", workspace, Npz.key)
    assert exported.files == ("one.npz",)
    assert exported.bytes_on_disk == (tmp_path / "one.npz").stat().st_size
    assert {"tokenizer_config.json", "benchvise/run.json"} <= set(export_run(run, tmp_path / "f", workspace).files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "one.npz"]


def test_a_third_target_writes_its_own_format(tmp_path: Path, finished: tuple[Path, Path, str]) -> None:
    _, workspace, run = finished
    exported = export_run(run, tmp_path / "one.npz", workspace, Npz.key)
    weights = run_weights(workspace, run)
    arrays = np.load(tmp_path / "one.npz")
    codes = arrays["model/layers/0/self_attn/q_proj/codes"].astype(np.float32)
    scales = arrays["model/layers/0/self_attn/q_proj/scale"]
    dense = weights.dense(weights.checkpoint.layer("model.layers.0.self_attn.q_proj")).numpy()
    assert np.array_equal(codes * scales[:, None], dense)
    norm = weights.dense(weights.checkpoint.layer("model.norm")).numpy()
    assert np.array_equal(arrays["model/norm"], norm)
    assert any("an archive holds 8 bits per channel alone" in warning for warning in sentences(exported.warnings))


def test_auto_goes_by_the_name_of_a_file(tmp_path: Path, finished: tuple[Path, Path, str]) -> None:
    _, workspace, run = finished
    assert key_for(AUTO, "model.npz") == key_for(AUTO, "/a/model.NPZ") == Npz.key
    assert key_for(AUTO, "model.v1") == key_for(AUTO, "") == AUTO
    assert export_run(run, tmp_path / "one.npz", workspace).target == Npz.key
    for name in ("folder", "one.txt"):
        with pytest.raises(OutputError, match="single file"):
            export_run(run, tmp_path / name, workspace, Npz.key)
    (tmp_path / "empty.npz").mkdir()
    with pytest.raises(OutputError, match="single file"):
        export_run(run, tmp_path / "empty.npz", workspace, Npz.key)


def test_auto_asks_the_targets(finished: tuple[Path, Path, str]) -> None:
    _, workspace, run = finished
    weights = run_weights(workspace, run)

    class Best(Npz):
        key = "best"
        preference = 99

    class Refuses(Best):
        key = "refuses"
        preference = 100

        def plan(self, *arguments: Any) -> ExportPlan:
            from dataclasses import replace

            return replace(super().plan(*arguments), refusal="It never does")

    with registered(Best, Refuses):
        assert choose_plan(AUTO, weights.checkpoint, weights.treatment).target == "best"
    assert choose_plan(AUTO, weights.checkpoint, weights.treatment).target == "compressed-tensors"


def checked(checkpoint: Path, target: str, runtime: str = "", out: str = "") -> dict[str, Any]:
    request = CheckRecipe(str(checkpoint), RECIPE, target, runtime, out=out)
    found = check_recipe(open_checkpoint(checkpoint), request, lambda _: Facts())
    return {finding.kind: finding for finding in found.findings}


def test_the_check_knows_a_third_target(tmp_path: Path, finished: tuple[Path, Path, str]) -> None:
    checkpoint, _, _ = finished
    size = checked(checkpoint, Npz.key)["size"]
    assert "as npz" in size.detail
    dense = checked(checkpoint, Npz.key)["written dense"]
    assert dense.layers == tuple(
        f"model.layers.{block}.{part}" for block in (0, 1) for part in ("self_attn.o_proj", "mlp.down_proj")
    )
    assert "OpenVINO does not load these" in checked(checkpoint, Npz.key, "openvino")["format"].title
    assert "format" in checked(checkpoint, Npz.key, "vllm")
    assert any(fix.target == "dense" for fix in checked(checkpoint, Npz.key, "vllm")["format"].fixes)
    assert "output" in checked(checkpoint, Npz.key, out=str(tmp_path / "no-suffix"))
    assert "output" not in checked(checkpoint, AUTO, out=str(tmp_path / "one.npz"))


def test_a_missing_package_is_said_before_the_work(tmp_path: Path, finished: tuple[Path, Path, str]) -> None:
    checkpoint, workspace, run = finished
    with registered(NeedsPackage):
        finding = checked(checkpoint, NeedsPackage.key)["package"]
        assert finding.level == "blocks"
        assert "benchvise_no_such_package" in finding.title
        with pytest.raises(OutputError, match="benchvise_no_such_package"):
            export_run(run, tmp_path / "out.npz", workspace, NeedsPackage.key)
        with pytest.raises(OutputError, match="benchvise_no_such_package"):
            preview(make_plan(open_checkpoint(checkpoint), RECIPE), NeedsPackage.key)
    assert not list(tmp_path.iterdir())


def test_provenance_names_the_target(tmp_path: Path, finished: tuple[Path, Path, str]) -> None:
    _, workspace, run = finished
    for key in TARGETS:
        if not target_of(key).suffix:
            export_run(run, tmp_path / key, workspace, key)
            assert json.loads((tmp_path / key / "benchvise" / "run.json").read_text())["target"] == key
