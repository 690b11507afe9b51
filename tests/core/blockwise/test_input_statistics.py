"""Second moments against direct computation, and which layers share them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from benchvise.core.blockwise.batching import Batching
from benchvise.core.blockwise.input_hooks import in_order, input_rows
from benchvise.core.blockwise.network import Network
from benchvise.core.blockwise.observed_layers import observed_layers
from benchvise.core.blockwise.statistics import Collector, Learned, Stream
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.plan import make_plan
from benchvise.core.weights.weights import OriginalWeights
from tests.core.blockwise.calibrated_models import recipe, tiny

IDS = (torch.arange(5 * 32).reshape(5, 32) * 31) % 500


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def network(folder: Path) -> Network:
    return Network(OriginalWeights(open_checkpoint(folder)), NullProgress())


@torch.no_grad()
def learn(folder: Path, network: Network, *, original_scale: float | None = None) -> Learned:
    rows = [
        row for row in make_plan(open_checkpoint(folder), recipe()).treated_rows if network.inside[row.layer.name] == 0
    ]
    observed = observed_layers(network.model, rows, inside=lambda name: network.name_inside(0, name))
    network.load(0)
    run, hidden = network.run(0), network.enter(IDS)
    hooks = in_order(run.module, observed.hooks, lambda: run(hidden[:1]))
    assert [hook.path.rpartition(".")[2] for hook in hooks] == ["q_proj", "o_proj", "gate_proj", "down_proj"]
    assert [len(hook.names) for hook in hooks] == [3, 1, 2, 1]
    batches = Batching(32, NullProgress())
    batches.windows = 2
    original, wanted = None, observed.wanted
    if original_scale is not None:
        original = Stream(run, hidden * original_scale)
        wanted = type(wanted)(wanted.moments, wanted.moments)
    return Collector(hooks, wanted, Stream(run, hidden), original).run(batches, lambda _: None)


def short(name: str) -> str:
    return name.rpartition(".")[2]


def test_moments_equal_a_direct_computation(folder: Path, network: Network) -> None:
    found = learn(folder, network).statistics
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    for name, statistics in found.items():
        seen: list[torch.Tensor] = []
        handle = model.get_submodule(name).register_forward_pre_hook(lambda _, args, seen=seen: seen.append(args[0]))
        with torch.no_grad():
            model(IDS)
        handle.remove()
        X = seen[0].double().reshape(-1, seen[0].shape[-1])
        assert statistics.tokens == len(X) == IDS.numel()
        assert statistics.drift is None
        torch.testing.assert_close(statistics.hessian.double(), X.T @ X / len(X), rtol=1e-4, atol=1e-6)


def test_layers_with_the_same_inputs_share(folder: Path, network: Network) -> None:
    found = {short(name): statistics for name, statistics in learn(folder, network).statistics.items()}
    assert len(found) == 7
    assert found["q_proj"] is found["k_proj"] is found["v_proj"]
    assert found["gate_proj"] is found["up_proj"]
    assert len({id(statistics) for statistics in found.values()}) == 4


def test_the_originals_inputs_beside_the_shown_ones(folder: Path, network: Network) -> None:
    """After a norm without epsilon, scaled hidden states are the same inputs; elsewhere they are not."""
    found = {short(name): s for name, s in learn(folder, network, original_scale=3.0).statistics.items()}
    q, o = found["q_proj"], found["o_proj"]
    assert q.drift is not None
    assert o.drift is not None
    torch.testing.assert_close(q.drift, torch.zeros_like(q.drift), rtol=0, atol=1e-4 * float(q.hessian.max()))
    torch.testing.assert_close(o.drift, torch.zeros_like(o.drift), rtol=0, atol=1e-3 * float(o.hessian.max()))
    down = found["down_proj"]
    assert down.drift is not None
    assert float(down.drift.norm()) > 1e-2 * float(down.hessian.norm())


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv1d(3, 5, 4, stride=2, padding=1),
        nn.Conv2d(3, 5, (2, 3), stride=(1, 2), padding=(1, 0), dilation=(2, 1)),
        nn.Linear(6, 5),
    ],
)
def test_rows_are_what_the_matrix_multiplies(module: nn.Module) -> None:
    shape = {nn.Conv1d: (2, 3, 11), nn.Conv2d: (2, 3, 9, 8), nn.Linear: (2, 7, 6)}[type(module)]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    outputs = module(x) if isinstance(module, nn.Linear) else module(x).flatten(2).transpose(1, 2)
    weight, bias = module.weight.flatten(1), module.bias
    torch.testing.assert_close(input_rows(module, x) @ weight.T + bias, outputs.reshape(-1, len(weight)))


def test_a_run_of_any_number_of_windows(folder: Path, network: Network) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    hidden = network.enter(IDS)
    for index in range(network.count):
        network.load(index)
        run = network.run(index)
        with torch.no_grad():
            parts = [run(hidden[:1]), run(hidden[1:4]), run(hidden[4:])]
        hidden = torch.cat(parts)
        network.drop(index)
        assert sum(parameter.untyped_storage().nbytes() for parameter in network.blocks[index].parameters()) < 100
    with torch.no_grad():
        torch.testing.assert_close(network.leave(hidden), model(IDS).logits, rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_a_block(network: Network) -> None:
    network.load(0)
    run = network.run(0)
    weight = run.module.get_parameter("mlp.up_proj.weight").requires_grad_()
    run(network.enter(IDS[:2])).square().mean().backward()
    assert weight.grad is not None
    assert float(weight.grad.abs().sum()) > 0
    network.drop(0)
