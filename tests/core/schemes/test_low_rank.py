"""Factors against the singular value decomposition of numpy, in the weight's norm and at the outputs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.errors import RecipeError
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.low_rank import LowRank
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.methods.whitened_svd import WhitenedSvd
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.running import load_running
from benchvise.core.schemes import factors
from benchvise.core.schemes.factors import nearest_factors, singular_values
from benchvise.core.schemes.low_rank import LowRankArithmetic
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.whitened_svd import whitened_svd
from benchvise.core.weights.open import open_weights
from tests.core.compress.treated_weight import treated_weight
from tests.core.job.compress_samples import run_recipe
from tests.core.schemes.scheme_samples import layer_in_file, solve, weights
from tests.core.solvers.solver_samples import correlated_inputs, output_error, statistics_of

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
SILENT = NullProgress()


def truncated(matrix: np.ndarray, rank: int) -> np.ndarray:
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def at_outputs(weight: torch.Tensor, inputs: torch.Tensor, rank: int) -> np.ndarray:
    """The best of that rank for the outputs: truncated after whitening by the inputs' own singular vectors."""
    _, s, v = np.linalg.svd(inputs.numpy() / len(inputs) ** 0.5, full_matrices=False)
    root = (v.T * s) @ v
    return truncated(weight.double().numpy() @ root, rank) @ np.linalg.inv(root)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
@pytest.mark.parametrize("rank", [1, 7, 14])
def test_nearest_is_the_truncated_decomposition(shape: tuple[int, int], rank: int) -> None:
    values = weights(*shape, "float32")
    solved = solve(values, LowRank(criterion="rank", rank=rank), block_rows=5)
    expected = truncated(values.double().numpy(), rank)
    np.testing.assert_allclose(solved.decoded.numpy(), expected, atol=2e-6)
    found = singular_values(values)
    np.testing.assert_allclose(found, np.linalg.svd(values.double().numpy(), compute_uv=False), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(24, 40), (40, 24)])
def test_a_whitened_decomposition_is_the_best_at_the_outputs(shape: tuple[int, int]) -> None:
    values, inputs = weights(*shape, "float32"), correlated_inputs(400, shape[1])
    known, scheme = statistics_of(inputs), LowRank(criterion="rank", rank=9)
    solved = whitened_svd(values, scheme, WhitenedSvd(original_target=0.0, damping=0.0), known, NULL_CONTEXT)
    best = output_error(values, torch.from_numpy(at_outputs(values, inputs, 9)), known.hessian)
    assert output_error(values, solved.decoded, known.hessian) <= 1.0001 * best
    plain = solve(values, scheme).decoded
    assert best < 0.9 * output_error(values, plain, known.hessian)
    kept = 1 - best / output_error(values, torch.zeros_like(values), known.hessian)
    assert solved.notes == (f"{kept:.2%} of the outputs' energy kept by the factors",)
    spectrum = np.linalg.svd(values.double().numpy() @ inputs.numpy().T / 20, compute_uv=False)
    np.testing.assert_allclose(singular_values(values, known.hessian), spectrum[:24], rtol=1e-3, atol=1e-6)


def test_the_target_follows_the_original_network() -> None:
    """Regression of what the original computes on what is seen, of reduced rank."""
    values, original = weights(16, 20, "float32"), correlated_inputs(600, 20)
    seen = original + 0.2 * original.std(0) * torch.randn(original.shape, generator=torch.Generator().manual_seed(5))
    solver, scheme = WhitenedSvd(original_target=1.0, damping=0.0), LowRank(criterion="rank", rank=6)
    solved = whitened_svd(values, scheme, solver, statistics_of(seen, original), NULL_CONTEXT)
    wanted = original.numpy() @ values.double().numpy().T
    full = torch.from_numpy(np.linalg.lstsq(seen.numpy(), wanted, rcond=None)[0].T)
    best = at_outputs(full, seen, 6)
    found, least = (np.square(wanted - seen.numpy() @ each.T).sum() for each in (solved.decoded.double().numpy(), best))
    assert found <= 1.001 * least


def test_no_inputs_and_useless_ones_leave_the_weight_itself() -> None:
    values, scheme = weights(12, 16, "float32"), LowRank(criterion="rank", rank=5)
    for known in (None, statistics_of(torch.zeros(5, 16, dtype=torch.float64))):
        found = whitened_svd(values, scheme, WhitenedSvd(), known, NULL_CONTEXT)
        torch.testing.assert_close(found.decoded, solve(values, scheme).decoded)
        assert "solved from the weight alone" in found.notes[0]


def test_a_randomised_search_comes_near_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    sizes = torch.arange(1, 301).float().pow(-0.4)
    values = torch.randn(320, 300, generator=generator) * sizes
    inputs = correlated_inputs(700, 300)
    for moments in (None, statistics_of(inputs).hessian):
        exact = nearest_factors(values, 40, SILENT, moments)
        monkeypatch.setattr(factors, "EXACT_SIZE", 100)
        found = nearest_factors(values, 40, SILENT, moments)
        again = nearest_factors(values, 40, SILENT, moments)
        monkeypatch.undo()
        assert (exact.exact, found.exact) == (True, False)
        norm = torch.eye(300) if moments is None else moments
        errors = [output_error(values, each.left @ each.right, norm) for each in (exact, found)]
        assert errors[0] <= errors[1] < 1.02 * errors[0]
        total = output_error(values, torch.zeros_like(values), norm)
        assert found.kept == pytest.approx(1 - errors[1] / total, abs=1e-4)
        assert torch.equal(found.right, again.right)


@pytest.mark.parametrize("bits", [4, 8])
def test_integer_factors_are_stored_as_said_and_fitted_to_each_other(bits: int, tmp_path: Path) -> None:
    values = weights(48, 64, "bfloat16")
    layer = layer_in_file(tmp_path, "block.up.weight", values)
    scheme = LowRank(criterion="rank", rank=20, values="integer", bits=bits).fitted(layer)[0]
    solved = solve(values, scheme)
    stored = {tensor.name: (getattr(torch, tensor.dtype), tensor.shape) for tensor in scheme.storage(layer)}
    assert stored == {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in solved.stored.items()}
    assert torch.equal(LowRankArithmetic.decode(scheme, solved.stored, 7, 30, 64), solved.decoded[7:30])
    left, right = LowRankArithmetic.factors(scheme, solved.stored, 48, 64)
    torch.testing.assert_close(left @ right, solved.decoded.float(), rtol=2e-2, atol=1e-4)
    whole = solve(values, LowRank(criterion="rank", rank=20)).decoded
    assert (solved.decoded - whole).norm() / whole.norm() < {4: 0.25, 8: 0.02}[bits]


def test_integers_beside_factors_beat_both_alone(tmp_path: Path) -> None:
    """Few large directions among many small ones: what the factors take away need not be rounded."""
    generator = torch.Generator().manual_seed(7)
    large = torch.randn(40, 3, generator=generator) @ torch.randn(3, 64, generator=generator)
    values = (large + 0.2 * torch.randn(40, 64, generator=generator)).bfloat16()
    layer = layer_in_file(tmp_path, "block.up.weight", values)
    scheme = LowRank(
        criterion="rank", rank=4, residual="integer", residual_bits=3, group_size=48, indivisible="divisor"
    )
    fit, notes = scheme.fitted(layer)
    assert (fit.tag, len(notes)) == ("rank 4 + int3 g32", 1)
    known = statistics_of(correlated_inputs(300, 64))
    solved = whitened_svd(values, fit, WhitenedSvd(), known, NULL_CONTEXT)
    stored = {tensor.name: (getattr(torch, tensor.dtype), tensor.shape) for tensor in fit.storage(layer)}
    assert stored == {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in solved.stored.items()}
    assert sum(part.nbytes for part in solved.stored.values()) == fit.bytes_after(layer)
    rows = {name: part[5:20] if name == "weight_packed" else part for name, part in solved.stored.items()}
    assert torch.equal(LowRankArithmetic.decode(fit, rows, 5, 20, 64), solved.decoded[5:20])
    alone = solve(values, Integer(bits=3, symmetric=False, group_size=32), Nearest(clip_search=True)).decoded
    factors_alone = whitened_svd(values, LowRank(criterion="rank", rank=4), WhitenedSvd(), known, NULL_CONTEXT).decoded
    errors = [output_error(values, each, known.hessian) for each in (solved.decoded, alone, factors_alone)]
    assert 3 * errors[0] < min(errors[1:])
    plain = solve(values, fit, block_rows=7)
    assert torch.equal(LowRankArithmetic.decode(fit, plain.stored, 0, 40, 64), plain.decoded)
    assert (plain.decoded - values).norm() < 0.5 * (alone - values).norm()
    assert not fit.factored
    with pytest.raises(RecipeError, match="found for factors alone"):
        LowRank(scope="global", residual="integer").fitted(layer)


@pytest.mark.parametrize("values", ["dtype", "integer", "residual"])
def test_tuning_starts_from_what_is_stored(values: str) -> None:
    weight = weights(20, 30, "float32")
    scheme = LowRank(criterion="rank", rank=8, values=values)  # type: ignore[arg-type]
    if values == "residual":
        scheme = LowRank(criterion="rank", rank=8, residual="integer", group_size=15)
    solved = solve(weight, scheme)
    tunable = LowRankArithmetic.tunable(scheme, solved.stored, 30)
    parameters = {name: value.requires_grad_() for name, value in tunable.parameters.items()}
    made = tunable.weight(parameters)
    torch.testing.assert_close(made.detach(), solved.decoded, rtol=1e-4, atol=1e-6)
    made.square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in parameters.values())
    assert all(parameters[name].shape == solved.stored[name].shape for name in parameters)


@pytest.mark.parametrize(
    ("settings", "said", "remedy"),
    [
        ({"criterion": "rank", "rank": 25}, "rank 25 does not pay: its rank is at most 24", "is 14"),
        ({"criterion": "rank", "rank": 15}, "rank 15 does not pay: the factors would not be smaller", "is 14"),
        ({"share": 0.0}, "a share of 0 leaves no rank", "Ranks 1 to 14"),
        ({"share": 0.05}, "a share of 0.05 leaves no rank", "Ranks 1 to 14"),
        ({"share": 1.0}, "rank 15 does not pay", "is 14"),
    ],
)
def test_ranks_that_do_not_pay_are_refused(settings: dict[str, object], said: str, remedy: str, tmp_path: Path) -> None:
    layer = layer_in_file(tmp_path, "block.up.weight", weights(24, 40, "bfloat16"))
    with pytest.raises(RecipeError, match=said) as raised:
        LowRank(**settings).fitted(layer)  # type: ignore[arg-type]
    assert re.search(remedy, raised.value.remedy)
    assert LowRank(criterion="rank", rank=14).fitted(layer)[0].bytes_after(layer) < layer.nbytes
    assert LowRank(share=0.8).inner_width(100, 100) == 40  # of exactly 0.8, which 0.8 in binary is not
    row = layer_in_file(tmp_path, "head.up.weight", weights(1, 40, "bfloat16"))
    with pytest.raises(RecipeError, match="no rank makes it smaller"):
        LowRank().fitted(row)


def test_solvers_say_which_schemes_they_serve() -> None:
    assert "which 'integer' has not" in WhitenedSvd().refusal(Integer())
    assert "'whitened_svd'" in ErrorFeedback().refusal(LowRank())
    assert WhitenedSvd().refusal(LowRank()) == Nearest().refusal(LowRank()) == ""
    with pytest.raises(TypeError, match="no factors"):
        arithmetic_of(Sparse()).factors(Sparse(), {}, 4, 4)


def test_a_model_multiplies_by_both_factors_in_turn(tmp_path: Path) -> None:
    asked = Recipe((Rule(("linears",), Treatment(LowRank(share=0.7))),))
    run = run_recipe(SAMPLE, tmp_path, asked)
    opened = open_weights(f"run:{run.run}", str(tmp_path))
    running = load_running(opened, torch.device("cpu"), SILENT)
    assert dict(running.routes) == {"two factors, one after the other": 35, "dense float32": 1}
    assert not running.fallbacks
    decoded = load_model(opened, dtype=torch.float32)
    ids = (torch.arange(60).reshape(2, 30) * 13) % 512
    with torch.inference_mode():
        torch.testing.assert_close(running.model(ids).logits, decoded(ids).logits, rtol=1e-3, atol=1e-3)
    assert running.weight_bytes < 0.8 * run.bytes_before


@pytest.mark.parametrize("name", ["stem.conv.weight", "h.0.attn.c_attn.weight"])
def test_convolutions_and_transposed_weights_keep_their_shape(name: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}')
    values = weights(12, 30, "float32")
    layer = layer_in_file(tmp_path, name, values.reshape(12, 3, 2, 5) if "conv" in name else values)
    found = treated_weight(layer, Treatment(LowRank(criterion="rank", rank=3)))
    assert found.shape == layer.shape
    expected = truncated(values.double().numpy(), 3)  # a matrix and its transpose have the same decomposition
    np.testing.assert_allclose(found.reshape(12, 30).numpy(), expected, atol=2e-6)
