"""A pass that waits while layers are solved comes to what passes from the beginning come to, and runs nothing twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from benchvise.core.blockwise import half_precision
from benchvise.core.blockwise.block_run import BlockRun
from benchvise.core.blockwise.half_precision import HALF, halved
from benchvise.core.blockwise.input_hooks import InputHook, in_order
from benchvise.core.blockwise.network import Network
from benchvise.core.blockwise.observed_layers import observed_layers
from benchvise.core.blockwise.staged_pass import StagedPass, can_wait
from benchvise.core.blockwise.statistics import Stream
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.methods.solver import Solver
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.plan import PlanRow, make_plan
from benchvise.core.weights.weights import OriginalWeights
from tests.core.blockwise.calibrated_models import recipe, tiny

IDS = (torch.arange(4 * 32).reshape(4, 32) * 31) % 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("llama", tmp_path_factory.mktemp("llama"), dtype=torch.bfloat16)


def begun(folder: Path, solver: Solver | None = None) -> tuple[Network, BlockRun, torch.Tensor, list[PlanRow]]:
    """A network whose first block has its weights, the call of it, and what enters it."""
    checkpoint = open_checkpoint(folder)
    network = Network(OriginalWeights(checkpoint), NullProgress())
    plan = make_plan(checkpoint, recipe(solver or ErrorFeedback()))
    rows = [row for row in plan.treated_rows if network.inside.get(row.layer.name) == 0]
    network.load(0)
    return network, network.run(0), network.enter(IDS), rows


@torch.no_grad()
def hooks_of(network: Network, run: BlockRun, hidden: torch.Tensor, rows: list[PlanRow]) -> tuple[InputHook, ...]:
    observed = observed_layers(network.model, rows, inside=lambda name: network.name_inside(0, name))
    return in_order(run.module, observed.hooks, lambda: run(hidden[:1]))


@torch.no_grad()
def test_what_waits_goes_on_with_the_weights_of_the_moment(folder: Path) -> None:
    network, run, hidden, rows = begun(folder)
    hooks = hooks_of(network, run, hidden, rows)
    assert can_wait(hooks)
    run(hidden[:2])  # arguments of a block are found by a call of the model
    calls: Counter[str] = Counter()
    for path, module in run.module.named_modules():
        module.register_forward_hook(lambda *_, path=path: calls.update([path]))
    slices = [slice(0, 2), slice(2, 4)]
    seen: list[list[torch.Tensor]] = []
    with StagedPass(Stream(run, hidden), hooks) as staged:
        for number, hook in enumerate(hooks):
            seen.append([staged.inputs(number, part)[0][1].clone() for part in slices])
            run.module.get_submodule(hook.path).weight.mul_(1.5)
        found = torch.cat([staged.output(part) for part in slices])
    assert set(calls.values()) == {len(slices)}
    calls.clear()
    torch.testing.assert_close(found, torch.cat([run(hidden[part]) for part in slices]), rtol=0, atol=0)
    # Behind a pass nothing is left that would stop or see anything.
    with StagedPass(Stream(run, hidden), hooks) as again:
        for number, parts in enumerate(seen):
            torch.testing.assert_close(again.inputs(number, slices[1])[0][1], parts[1], rtol=0, atol=0)
    assert not any(module._forward_pre_hooks for module in run.module.modules())


@torch.no_grad()
def test_other_slices_begin_anew_and_come_to_the_same(folder: Path) -> None:
    """As when memory runs out between two hooks, and batches become shorter."""
    network, run, hidden, rows = begun(folder)
    hooks = hooks_of(network, run, hidden, rows)
    with StagedPass(Stream(run, hidden), hooks) as staged:
        staged.inputs(0, slice(0, 4))
        run.module.get_submodule(hooks[0].path).weight.mul_(1.5)
        parts = [staged.inputs(1, slice(at, at + 1))[0][1].clone() for at in range(4)]
        found = torch.cat([staged.output(slice(at, at + 1)) for at in range(4)])
        torch.testing.assert_close(found, run(hidden), rtol=1e-4, atol=1e-4)
        whole = staged.inputs(1, slice(0, 4))[0][1]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-4)


def test_half_precision_is_near_and_goes_with_the_block(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half_precision, "multiplies_halves", lambda _device: True)
    network, run, hidden, rows = begun(folder)
    with torch.no_grad():
        wanted = run(hidden)
        half = halved(network, run, rows, hidden)
        found = half(hidden)
    assert half.dtype == HALF
    assert run.module.get_submodule("mlp.up_proj").weight.dtype == HALF
    assert found.dtype == torch.float32
    error = float((found - wanted).norm() / (wanted - hidden).norm())
    assert 0 < error < half_precision.MAX_LOST
    network.drop(0)
    network.load(0)
    with torch.no_grad():
        torch.testing.assert_close(network.run(0)(hidden), wanted, rtol=0, atol=0)


def test_a_block_that_bears_no_half_precision_or_is_learned_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_precision, "multiplies_halves", lambda _device: True)
    network, run, hidden, rows = begun(folder, LearnedRounding())
    assert halved(network, run, rows, hidden) is run
    network, run, hidden, rows = begun(folder)
    monkeypatch.setattr(half_precision, "MAX_LOST", 0.0)
    with torch.no_grad():
        wanted = run(hidden)
        assert halved(network, run, rows, hidden) is run
        torch.testing.assert_close(run(hidden), wanted, rtol=0, atol=0)
