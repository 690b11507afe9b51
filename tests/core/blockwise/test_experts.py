"""Each expert's inputs, against a slow pass of every token through its experts' matrices as they are on disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchvise.core.blockwise import experts as room
from benchvise.core.blockwise.experts import ExpertHook, expert_hooks, refusal
from benchvise.core.blockwise.input_hooks import observe
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.experts import expert_places
from benchvise.core.solvers.solution import InputStatistics
from benchvise.core.weights.weights import OriginalWeights

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from tests.core.runtime.tiny_experts import save_experts

IDS = (torch.arange(3 * 40).reshape(3, 40) * 17) % 61
BLOCK = "model.layers.1.mlp"
STORED = {
    "mixtral": ("model.layers.1.block_sparse_moe", "w1", "w3", "w2"),
    "qwen3_moe": (BLOCK, "gate_proj", "up_proj", "down_proj"),
    "qwen2_moe": (BLOCK, "gate_proj", "up_proj", "down_proj"),
}


class Sample:
    """A tiny model, its experts' places in one module, and the inputs of each of its layers found the slow way."""

    def __init__(self, model_type: str, folder: Path) -> None:
        weights = OriginalWeights(open_checkpoint(save_experts(model_type, folder)))
        self.model = load_model(weights)
        self.path = f"{BLOCK}.experts"
        places = expert_places(self.model, weights.checkpoint.layers)
        self.places = {name: place for name, place in places.items() if place.module == self.path}
        self.inputs = self._slow(weights, *STORED[model_type])

    def run(self) -> Tensor:
        with torch.no_grad():
            found: Tensor = self.model(IDS).logits
        return found

    def rows_of(self, hooks: tuple[ExpertHook, ...]) -> dict[str, Tensor]:
        """By name, the rows that the hooks saw."""
        seen = observe(self.model, hooks, self.run, to_end=True).inputs
        return {name: rows for calls in seen for names, rows in calls for name in names}

    def _slow(self, weights: OriginalWeights, stored: str, gate: str, up: str, down: str) -> dict[str, Tensor]:
        entering: list[Tensor] = []
        hook = self.model.get_submodule(BLOCK).register_forward_pre_hook(
            lambda _, args: entering.append(args[0].flatten(0, 1))
        )
        self.run()
        hook.remove()
        read = {layer.name: weights.dense(layer).double() for layer in weights.checkpoint.layers}
        rows: dict[str, list[Tensor]] = {name: [] for name in self.places}
        for token in entering[0].double():
            for expert in (read[f"{stored}.gate"] @ token).topk(2).indices.tolist():
                name = f"{stored}.experts.{expert}"
                gated = torch.nn.functional.silu(read[f"{name}.{gate}"] @ token)
                rows[f"{name}.{gate}"].append(token)
                rows[f"{name}.{up}"].append(token)
                rows[f"{name}.{down}"].append(gated * (read[f"{name}.{up}"] @ token))
        return {name: torch.stack(found) for name, found in rows.items() if found}


@pytest.fixture(scope="module", params=STORED)
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return Sample(request.param, tmp_path_factory.mktemp(request.param))


def test_every_matrix_has_the_inputs_of_its_expert(sample: Sample) -> None:
    hooks = expert_hooks(sample.model.get_submodule(sample.path), sample.path, sample.places)
    assert [len(hook.names) for hook in hooks] == [8, 4]
    rows = sample.rows_of(hooks)
    assert rows.keys() == sample.inputs.keys()
    for name, expected in sample.inputs.items():
        torch.testing.assert_close(rows[name].double(), expected, rtol=1e-4, atol=1e-5)


def test_observing_changes_nothing(sample: Sample) -> None:
    hooks = expert_hooks(sample.model.get_submodule(sample.path), sample.path, sample.places)
    observed = observe(sample.model, hooks, sample.run, to_end=True).output
    assert observed is not None
    assert torch.equal(observed, sample.run())


def test_few_experts_at_a_time_give_the_same_and_the_rest_pooled(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sample.model.get_submodule(sample.path)
    whole = sample.rows_of(expert_hooks(module, sample.path, sample.places))
    monkeypatch.setattr(room, "MOMENT_BYTES", 2 * 4 * 16 * 16)
    hooks = expert_hooks(module, sample.path, sample.places)
    assert all(len(hook.members) < 4 for hook in hooks)
    assert sorted(name for hook in hooks for name in hook.names) == sorted(sample.places)
    for hook in hooks:
        rows = sample.rows_of((hook,))
        others = rows.pop(hook.rest)
        assert all(torch.equal(whole[name], found) for name, found in rows.items())
        ours = sum(len(rows[names[0]]) for _, names in hook.members if names[0] in rows)
        assert len(others) + ours == 2 * IDS.numel()


def hook(columns: int, experts: int) -> ExpertHook:
    members = tuple((expert, (f"{expert}.gate", f"{expert}.up")) for expert in range(experts))
    names = tuple(name for _, group in members for name in group)
    return ExpertHook("experts", names, lambda *_: [], members=members, rest="rest", columns=columns)


def moments(rows: Tensor) -> InputStatistics:
    return InputStatistics(rows.T @ rows / len(rows), len(rows))


def test_experts_with_few_tokens_borrow_from_all() -> None:
    generator = torch.Generator().manual_seed(0)
    many, few, others = (torch.randn(count, 8, generator=generator) for count in (50, 2, 30))
    known = {name: moments(many) for name in ("0.gate", "0.up")} | {name: moments(few) for name in ("1.gate", "1.up")}
    found = hook(8, 3).completed(known | {"rest": moments(others)})
    everyone = torch.cat([many, few, others])
    pooled = everyone.T @ everyone / len(everyone)
    assert found["0.up"].inputs is known["0.gate"]
    assert not found["0.up"].notes
    torch.testing.assert_close(found["1.up"].inputs.hessian, 0.75 * pooled + 0.25 * few.T @ few / 2)
    assert found["1.up"].inputs.tokens == 2
    assert "fewer calibration tokens (2) than it has inputs (8)" in found["1.up"].notes[0]
    assert "75%" in found["1.up"].notes[0]
    torch.testing.assert_close(found["2.gate"].inputs.hessian, pooled)
    assert found["2.gate"].inputs.tokens == 82
    assert "no calibration token; solved with the moments of all experts" in found["2.gate"].notes[0]


def test_where_no_expert_saw_a_token_only_weights_are_left() -> None:
    found = hook(8, 2).completed({})
    assert all(entry.inputs.tokens == 0 for entry in found.values())
    assert all("from the weights alone" in entry.notes[0] for entry in found.values())


def test_experts_of_another_make_are_refused(tmp_path: Path) -> None:
    model = load_model(OriginalWeights(open_checkpoint(save_experts("gpt_oss", tmp_path))))
    assert "transposed" in refusal(model.get_submodule(f"{BLOCK}.experts"))
    assert "mixtures of transformers" in refusal(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="transposed"):
        expert_hooks(model.get_submodule(f"{BLOCK}.experts"), "", {})
