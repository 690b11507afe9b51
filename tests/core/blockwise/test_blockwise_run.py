"""A calibrated job against a plain loop over the `transformers` model: hooks, float64 sums, no shortcuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from benchvise.core.blockwise import batching, network
from benchvise.core.blockwise.calibration import calibration_text
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.protocol.results import Run
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.registry import FUNCTIONS, functions_of
from benchvise.core.solvers.solution import InputStatistics, Solution
from benchvise.core.weights.open import open_weights
from tests.core.blockwise.calibrated_models import plain_tensors, recipe, tiny
from tests.core.job.compress_samples import Watcher, records, run_recipe

STAGES = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
BATCH = 2


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("llama", tmp_path_factory.mktemp("llama"))


def reference(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def inputs_of(model: nn.Module, names: Sequence[str], ids: Tensor) -> dict[str, Tensor]:
    """Float64 [tokens, columns] that enter the named modules in a whole forward pass."""
    found: dict[str, list[Tensor]] = {name: [] for name in names}

    def keep(name: str) -> Callable[..., None]:
        return lambda _module, args: found[name].append(args[0].reshape(-1, args[0].shape[-1]).double())

    handles = [model.get_submodule(name).register_forward_pre_hook(keep(name)) for name in names]
    model(ids)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts) for name, parts in found.items()}


@torch.no_grad()
def by_plain_loop(folder: Path, asked: Recipe, decoded: Callable[[str], Tensor]) -> dict[str, Expected]:
    """What every layer of a llama is shown, on whole passes of the whole model, and its error there, float64.

    decoded: the weight that a layer was left with, which is the prefix of those after it.
    """
    ids = calibration_text(open_checkpoint(folder), asked.calibration, asked.seed).ids
    model, original = reference(folder), reference(folder)
    found = {}
    stages = [
        [f"model.layers.{i}.{'self_attn' if stage[0][0] in 'qo' else 'mlp'}.{name}" for name in stage]
        for i in range(len(model.model.layers))
        for stage in STAGES
    ]
    for names in [*stages, ["lm_head"]]:
        before = inputs_of(original, names, ids)
        seen = inputs_of(model, names, ids) if asked.calibration.inputs == "compressed" else before
        for name in names:
            weight, X, X0 = model.get_submodule(name).weight, seen[name], before[name]
            outputs = X @ weight.double().T
            lost = X @ decoded(name).double().T - outputs
            error = float(lost.square().sum() / outputs.square().sum())
            found[name] = Expected(weight.clone(), X.T @ X / len(X), (X0 - X).T @ X / len(X), len(X), error)
        for name in names:
            model.get_submodule(name).weight.data = decoded(name)
    return found


@dataclass(frozen=True)
class Expected:
    """weight: before it was solved; the moments as in `InputStatistics`."""

    weight: Tensor
    hessian: Tensor
    drift: Tensor
    tokens: int
    error: float


def told(monkeypatch: pytest.MonkeyPatch, solver: Solver) -> list[tuple[Tensor, InputStatistics]]:
    """What the solver is called with from now on, weight and statistics."""
    calls: list[tuple[Tensor, InputStatistics]] = []
    solve = functions_of(solver).matrix
    assert solve is not None

    def listening(
        weight: Tensor, scheme: Any, settings: Any, statistics: InputStatistics | None, context: SolverContext
    ) -> Solution:
        assert statistics is not None
        calls.append((weight.clone(), statistics))
        return solve(weight, scheme, settings, statistics, context)

    monkeypatch.setitem(FUNCTIONS, type(solver), replace(functions_of(solver), matrix=listening))
    return calls


@pytest.mark.parametrize("inputs", ["compressed", "original"])
@pytest.mark.parametrize("solver", [Nearest(clip_search=True, importance=True), ErrorFeedback()])
def test_as_a_plain_loop_finds(
    llama: Path, tmp_path: Path, inputs: str, solver: Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = told(monkeypatch, solver)
    asked = recipe(solver, ("linears", "re:lm_head"), inputs=inputs)
    run = run_recipe(llama, tmp_path, asked)
    weights = open_weights(f"run:{run.run}", str(tmp_path))
    expected = by_plain_loop(llama, asked, lambda name: weights.dense(weights.checkpoint.layer(name)))
    assert {layer.name for layer in run.layers} == set(expected)
    assert len(calls) == len(expected)
    for weight, statistics in calls:
        ((name, layer),) = ((n, e) for n, e in expected.items() if torch.equal(e.weight, weight))
        scale = float(layer.hessian.abs().max())
        assert statistics.tokens == layer.tokens, name
        torch.testing.assert_close(statistics.hessian.double(), layer.hessian, rtol=1e-3, atol=1e-4 * scale)
        assert (statistics.drift is not None) == (inputs == "compressed" and solver.compares), name
        if statistics.drift is not None:
            torch.testing.assert_close(statistics.drift.double(), layer.drift, rtol=1e-3, atol=1e-4 * scale)
    for layer in run.layers:
        assert layer.output_error == pytest.approx(expected[layer.name].error, rel=1e-3), layer.name


def test_the_prefix_makes_a_difference(llama: Path, tmp_path: Path) -> None:
    layers = [
        {layer.name: layer.sqnr_db for layer in run_recipe(llama, tmp_path, recipe(inputs=inputs)).layers}
        for inputs in ("compressed", "original")
    ]
    assert all(layers[0][name] == layers[1][name] for name in layers[0] if "layers.0.self_attn.q" in name)
    assert layers[0]["model.layers.2.mlp.down_proj"] != layers[1]["model.layers.2.mlp.down_proj"]


@pytest.mark.parametrize("kind", ["gpt2", "opt", "gemma2"])
def test_other_layouts(kind: str, tmp_path: Path) -> None:
    """Transposed weights, layers before and behind the blocks, window masks that differ from block to block."""
    folder = tiny(kind, tmp_path / "model")
    progress = Watcher()
    run = run_recipe(folder, tmp_path / "workspace", recipe(), progress=progress)
    assert all(layer.output_error is not None for layer in run.layers), run.layers
    assert progress.notes == []
    assert progress.done == progress.total
    ids = calibration_text(open_checkpoint(folder), recipe().calibration, 0).ids
    weights = open_weights(f"run:{run.run}", str(tmp_path / "workspace"))
    original, compressed = reference(folder), reference(folder)
    last = run.layers[-1].name
    for layer in run.layers[:-1]:
        compressed.get_parameter(_in_model(compressed, layer.name)).data = weights.dense(
            weights.checkpoint.layer(layer.name)
        )
    module = _in_model(original, last).removesuffix(".weight")
    X = inputs_of(compressed, [module], ids)[module]
    before, after = (
        matrix.double() if kind == "gpt2" else matrix.double().T
        for matrix in (
            original.get_submodule(module).weight.detach(), weights.dense(weights.checkpoint.layer(last)),
        )
    )  # fmt: skip
    error = (X @ (after - before)).square().sum() / (X @ before).square().sum()
    assert run.layers[-1].output_error == pytest.approx(float(error), rel=1e-3)


def _in_model(model: Any, name: str) -> str:
    names = {name for name, _ in model.named_parameters()}
    prefix = model.base_model_prefix
    return next(found for found in (f"{name}.weight", f"{prefix}.{name}.weight") if found in names)


def test_tied_embeddings_are_solved_from_weights(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "model", tie_word_embeddings=True)
    run = run_recipe(folder, tmp_path / "workspace", recipe(targets=("linears", "embeddings")))
    (table,) = (layer for layer in run.layers if layer.name == "model.embed_tokens")
    assert table.output_error is None
    assert any("looked up" in note for note in table.notes)
    assert all(layer.output_error is not None for layer in run.layers if layer is not table)


def test_bfloat16_weights_stay_in_their_dtype(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "model", dtype=torch.bfloat16)
    run = run_recipe(folder, tmp_path / "workspace", recipe(ErrorFeedback()))
    weights = open_weights(f"run:{run.run}", str(tmp_path / "workspace"))
    assert weights.dense(weights.checkpoint.layer("model.layers.0.mlp.up_proj")).dtype == torch.bfloat16
    assert all(layer.output_error is not None and layer.output_error < 0.2 for layer in run.layers)


def test_layers_that_need_nothing_are_not_observed(llama: Path, tmp_path: Path) -> None:
    mixed = Recipe(
        (*recipe().rules, Rule(("re:.*mlp.*",), Treatment(recipe().rules[0].treatment.scheme))),
        calibration=recipe().calibration,
    )
    run = run_recipe(llama, tmp_path, mixed)
    assert {layer.name for layer in run.layers if layer.output_error is None} == {
        f"model.layers.{i}.mlp.{name}_proj" for i in range(3) for name in ("up", "gate", "down")
    }


def test_plain_tensors_are_solved_from_weights_alone(tmp_path: Path) -> None:
    folder = plain_tensors(tmp_path / "plain")
    progress = Watcher()
    run = run_recipe(folder, tmp_path / "workspace", recipe(targets=("all",)), progress=progress)
    assert any("solved from weights alone" in note for note in progress.notes)
    unweighted = recipe(Nearest(clip_search=True), targets=("all",))
    other = run_recipe(folder, tmp_path / "workspace", unweighted)
    assert [layer.sqnr_db for layer in run.layers] == [layer.sqnr_db for layer in other.layers]
    assert all(any("every column counts" in note for note in layer.notes) for layer in run.layers)


def test_a_model_that_cannot_be_taken_apart(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run_recipe(llama, tmp_path, recipe(ErrorFeedback()))
    monkeypatch.setattr(network.Network, "_only_hidden_states_pass", lambda _: False)
    progress = Watcher()
    run = run_recipe(llama, tmp_path, recipe(ErrorFeedback()), progress=progress)
    assert any("cannot be taken apart" in note for note in progress.notes)
    assert progress.done == progress.total
    _nearly(run, expected)


def test_memory_that_runs_out_halves_the_batch(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run_recipe(llama, tmp_path, recipe())
    _too_little_memory(monkeypatch, most_windows=2)
    progress = Watcher()
    run = run_recipe(llama, tmp_path, recipe(), progress=progress)
    assert [note.split("goes on with ")[1][:1] for note in progress.notes if "memory" in note][-1] == "2"
    _nearly(run, expected)
    _too_little_memory(monkeypatch, most_windows=0)
    with pytest.raises(Exception, match="not enough memory to push a single"):
        run_recipe(llama, tmp_path, recipe())


def _too_little_memory(monkeypatch: pytest.MonkeyPatch, most_windows: int) -> None:
    call = network.BlockRun.__call__

    def limited(self: Any, hidden: Tensor) -> Tensor:
        if len(hidden) > most_windows and len(hidden) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
        if not most_windows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return call(self, hidden)

    monkeypatch.setattr(network.BlockRun, "__call__", limited)


def _nearly(run: Run, expected: Run) -> None:
    for found, other in zip(run.layers, expected.layers, strict=True):
        assert found.name == other.name
        assert found.output_error == pytest.approx(other.output_error, rel=0.03)


@pytest.mark.parametrize("inputs", ["compressed", "original"])
def test_nan_is_named_with_its_module(tmp_path: Path, inputs: str) -> None:
    folder = tiny("llama", tmp_path / "model")
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.post_attention_layernorm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"model\.layers\.1\.post_attention_layernorm"):
        run_recipe(folder, tmp_path / "workspace", recipe(inputs=inputs))


def test_runs_do_not_share_records_by_mistake(llama: Path, tmp_path: Path) -> None:
    first = run_recipe(llama, tmp_path, recipe())
    before = records(tmp_path)
    run_recipe(llama, tmp_path, recipe(windows=5))
    assert len(records(tmp_path)) == 2 * len(first.layers)
    assert before.items() <= records(tmp_path).items()
    again = run_recipe(llama, tmp_path, recipe())
    assert [layer.sqnr_db for layer in again.layers] == [layer.sqnr_db for layer in first.layers]
    assert before.items() <= records(tmp_path).items()


def test_batches_do_not_change_what_is_found(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run_recipe(llama, tmp_path / "whole", recipe())
    monkeypatch.setattr(batching, "BATCH_TOKENS", 32 * BATCH)
    _nearly(run_recipe(llama, tmp_path / "parts", recipe()), expected)
