"""Budgets on the sample model with KL increases that are made up, and every way in which they cannot be met."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchvise.core.allocate.allocate import Allocator
from benchvise.core.allocate.memory import cache_bytes
from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.engine import answer
from benchvise.core.errors import CheckpointError, RecipeError, UserError
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.budget import BITS, BYTES, MEMORY, Budget, parse_budget
from benchvise.core.protocol.requests import Allocate
from benchvise.core.protocol.results import Allocated, Estimate, LayerCosts
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.workspace.layer_costs import save_layer_costs
from benchvise.core.workspace.sensitivities import (
    ENABLE_ONE,
    FISHER,
    LayerSensitivity,
    MeasuredChoice,
    SensitivityFile,
    treatment_key,
)
from benchvise.core.workspace.workspace import Workspace

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
CHECKPOINT = open_checkpoint(SAMPLE)
LAYERS = [layer for layer in CHECKPOINT.layers if layer.kind == "linear" and layer.depth is not None]
NAMES = [layer.name for layer in LAYERS]
CANDIDATES = tuple(Treatment(Integer(bits=bits, granularity="channel")) for bits in (2, 3, 4, 8))
WEIGHTS = sum(layer.parameters for layer in LAYERS)


def made_up(index: int, treatment: Treatment) -> float:
    assert isinstance(treatment.scheme, Integer)
    return (1 + index % 7) * 1e-3 * 4.0 ** -(treatment.scheme.bits - 2)


def ask(
    workspace: Path, budget: str, kl_increase: Callable[[int, Treatment], float | None] = made_up, **changes: object
) -> Allocate:
    kl_increases = SensitivityFile(Workspace(str(workspace)).sensitivity_file("key"))
    kl_increases.describe(checkpoint_identity(CHECKPOINT), 100)
    for index, name in enumerate(NAMES):
        for treatment in CANDIDATES:
            kl = kl_increase(index, treatment)
            if kl is not None:
                kl_increases.put(name, treatment_key(treatment, ""), ENABLE_ONE, LayerSensitivity(kl))
    kl_increases.save()
    request = Allocate(str(SAMPLE), Recipe(), "key", CANDIDATES, parse_budget(budget), workspace=str(workspace))
    return replace(request, **changes)  # type: ignore[arg-type]


def allocated(request: Allocate) -> Allocated:
    found = answer(request, NullProgress())
    assert isinstance(found, Allocated)
    return found


@pytest.mark.parametrize("bits", [2.6, 3.0, 4.4, 6.0, 40.0])
def test_bits_are_kept_within_and_used_up(tmp_path: Path, bits: float) -> None:
    found = allocated(ask(tmp_path, f"{bits}bpw"))
    plan = make_plan(CHECKPOINT, found.recipe, allow_empty=True)
    rows = [row for row in plan.rows() if row.layer.name in NAMES]
    nbytes = sum(row.bytes_after for row in rows)
    assert 8 * nbytes / WEIGHTS <= bits
    assert found.cost == nbytes
    assert found.planned.total_after == plan.bytes_after
    assert [row.treatment.tag for row in rows] == [found.tags[option] for option in found.choice]
    if bits < 8:
        assert 8 * nbytes / WEIGHTS > bits - 0.2
    else:
        assert all(row.treatment.keeps for row in rows)


def test_bytes_are_those_of_the_whole_checkpoint(tmp_path: Path) -> None:
    budget = CHECKPOINT.nbytes // 2
    found = allocated(ask(tmp_path, f"{budget}B"))
    assert budget - 20_000 < found.planned.total_after <= budget
    assert found.cost == found.planned.total_after


def test_fragile_layers_get_more(tmp_path: Path) -> None:
    found = allocated(ask(tmp_path, "3.6bpw", lambda i, t: made_up(0, t) * (1000 if i == 4 else 1)))
    bits = [8 * row.bytes_after / row.layer.parameters for row in make_plan(CHECKPOINT, found.recipe).treated_rows]
    assert bits[4] == max(bits)
    assert bits[4] > 8


def test_divergence_takes_the_fewest_bytes(tmp_path: Path) -> None:
    request = ask(tmp_path, "kl=0.02")
    found = allocated(request)
    assert found.kl.value <= 0.02
    fewer = replace(request, budget=parse_budget(f"{found.planned.total_after - 2}B"))
    assert allocated(fewer).kl.value > 0.0199
    assert allocated(replace(request, budget=parse_budget(f"{found.planned.total_after}B"))).kl.value <= 0.0201


def test_memory_counts_the_cache(tmp_path: Path) -> None:
    config = CHECKPOINT.config
    per_token = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * 2  # type: ignore[operator]
    per_token *= config["hidden_size"] // config["num_attention_heads"]  # type: ignore[operator]
    plain = allocated(ask(tmp_path, f"{CHECKPOINT.nbytes // 2}B"))
    found = allocated(ask(tmp_path, f"{CHECKPOINT.nbytes // 2 + per_token * 512}B@512"))
    assert found.recipe == plain.recipe
    assert found.cost == plain.cost + per_token * 512


def test_time_is_shared_out_by_what_each_layer_takes(tmp_path: Path) -> None:
    tags = (KEEP.tag, *(treatment.tag for treatment in CANDIDATES))
    times = np.array([[8.0, 2.0, 3.0, 4.0, 6.0]] * len(NAMES)) / 10
    times_and_head = np.vstack([times, np.full((1, 5), 1.5)])
    costs = LayerCosts(
        (*NAMES, "lm_head"), tags, times_and_head, Estimate(2.0, 1.9, 2.1), 0.1, "here", False, "times",
        np.ones((len(NAMES) + 1, 5), np.int64), keys=(KEEP.key, *(treatment.key for treatment in CANDIDATES)),
    )  # fmt: skip
    save_layer_costs(str(tmp_path), costs)
    found = allocated(ask(tmp_path, "16ms", costs="times"))
    spent = sum(times[i, tags.index(found.tags[option])] for i, option in enumerate(found.choice))
    assert found.cost == pytest.approx(spent + 2.0 + 1.5)
    assert 15.6 < found.cost <= 16
    assert found.latency_ms is not None
    assert found.latency_ms.low < found.cost < found.latency_ms.high
    assert found.front.unit == "ms"
    with pytest.raises(RecipeError, match=r"least that these candidates allow is 10\.5ms, 3\.5 ms of which"):
        allocated(ask(tmp_path, "5ms", costs="times"))


def test_locked_layers_stay(tmp_path: Path) -> None:
    locked = ((NAMES[0], KEEP), (NAMES[3], CANDIDATES[0]))
    found = allocated(ask(tmp_path, "4bpw", locked=locked))
    tags = [found.tags[option] for option in found.choice]
    assert tags[0] == "keep"
    assert tags[3] == CANDIDATES[0].tag
    assert found.better.choice[0] == found.cheaper.choice[0] == -1


def test_a_lock_to_what_was_not_measured_is_told(tmp_path: Path) -> None:
    other = Treatment(Integer(bits=5, granularity="channel"))
    found = allocated(ask(tmp_path, "4bpw", locked=((NAMES[0], other),)))
    assert found.tags[found.choice[0]] == other.tag
    assert any("KL increase is not known and not counted" in note and NAMES[0] in note for note in found.notes)
    assert other.tag not in [found.tags[option] for option in found.choice[1:]]


def test_fused_layers_get_the_same_treatment(tmp_path: Path) -> None:
    found = allocated(ask(tmp_path, "3.4bpw", fused=True))
    tags = {name: found.tags[option] for name, option in zip(found.layers, found.choice, strict=True)}
    for block in range(5):
        start = f"model.layers.{block}"
        assert len({tags[f"{start}.self_attn.{part}_proj"] for part in "qkv"}) == 1
        assert tags[f"{start}.mlp.gate_proj"] == tags[f"{start}.mlp.up_proj"]
    apart = allocated(ask(tmp_path, "3.4bpw"))
    assert apart.kl.value <= found.kl.value


def test_contradictory_locks_are_refused(tmp_path: Path) -> None:
    locked = (("model.layers.1.self_attn.q_proj", KEEP), ("model.layers.1.self_attn.v_proj", CANDIDATES[0]))
    with pytest.raises(RecipeError, match="computed in one piece need the same treatment") as refusal:
        allocated(ask(tmp_path, "4bpw", locked=locked, fused=True))
    assert "q_proj' is locked to keep" in refusal.value.what
    assert allocated(ask(tmp_path, "4bpw", locked=locked))


def test_a_lock_on_no_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no layer"):
        allocated(ask(tmp_path, "4bpw", locked=(("model.layers.9.mlp", KEEP),)))
    with pytest.raises(RecipeError, match="not among the layers that are allocated"):
        allocated(ask(tmp_path, "4bpw", locked=(("model.norm", KEEP),)))


@pytest.mark.parametrize(("budget", "unit"), [("1bpw", "bpw"), ("100kB", "kB"), ("120kB@16", "kB@16")])
def test_a_budget_that_cannot_be_met_names_the_nearest(tmp_path: Path, budget: str, unit: str) -> None:
    request = ask(tmp_path, budget, locked=((NAMES[0], KEEP),), fused=True)
    with pytest.raises(RecipeError, match=f"The budget of {budget} cannot be met") as refusal:
        allocated(request)
    assert "unlock some of the 1 locked layers" in refusal.value.remedy
    assert "fused" in refusal.value.remedy
    nearest = refusal.value.remedy.split()[2]
    assert nearest.endswith(unit)
    found = allocated(replace(request, budget=parse_budget(nearest)))
    assert {found.tags[option] for option in found.choice} == {"keep", CANDIDATES[0].tag}


def test_a_divergence_that_cannot_be_met_names_the_nearest(tmp_path: Path) -> None:
    request = ask(tmp_path, "kl=1e-7", locked=((NAMES[0], CANDIDATES[1]),))
    with pytest.raises(RecipeError, match="cannot be as small as 1e-07") as refusal:
        allocated(request)
    nearest = refusal.value.remedy.split()[2]
    assert allocated(replace(request, budget=parse_budget(nearest))).choice[1] == 0


def test_no_candidates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no candidate"):
        allocated(ask(tmp_path, "4bpw", candidates=()))


def test_without_a_measurement_there_is_nothing_to_share_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such measurement"):
        allocated(replace(ask(tmp_path, "4bpw"), sensitivity="other"))


def test_what_breaks_the_model_or_is_not_known_is_not_chosen(tmp_path: Path) -> None:
    def kl_increase(index: int, treatment: Treatment) -> float | None:
        if index == 0 and treatment == CANDIDATES[0]:
            return math.inf
        return None if index == 1 and treatment == CANDIDATES[0] else made_up(index, treatment)

    found = allocated(ask(tmp_path, "2.6bpw", kl_increase))
    tags = [found.tags[option] for option in found.choice]
    assert CANDIDATES[0].tag not in tags[:2]
    assert any("breaks the model" in note and NAMES[0] in note for note in found.notes)
    assert any("was not measured" in note and NAMES[1] in note for note in found.notes)


def test_layers_without_a_kl_increase_take_the_fewest_bytes(tmp_path: Path) -> None:
    found = allocated(ask(tmp_path, "8bpw", lambda *_: 0.0))
    assert {found.tags[option] for option in found.choice} == {CANDIDATES[0].tag}
    assert found.kl.value == 0


def test_measured_on_other_weights_is_told(tmp_path: Path) -> None:
    request = ask(tmp_path, "4bpw")
    kl_increases = SensitivityFile(Workspace(str(tmp_path)).sensitivity_file("key"))
    kl_increases.describe("another", 100)
    kl_increases.save()
    with pytest.raises(RecipeError, match="measured on other weights"):
        allocated(request)


def test_estimated_kl_increases_are_reported_and_brought_to_the_measured_level(tmp_path: Path) -> None:
    request = ask(tmp_path, "4bpw", lambda i, t: made_up(i, t) if i % 2 else None)
    kl_increases = SensitivityFile(Workspace(str(tmp_path)).sensitivity_file("key"))
    for index, name in enumerate(NAMES):
        for treatment in CANDIDATES:
            kl_increases.put(
                name, treatment_key(treatment, ""), FISHER, LayerSensitivity(5 * made_up(index, treatment))
            )
    kl_increases.save()
    found = allocated(request)
    whole = allocated(ask(tmp_path / "whole", "4bpw"))
    assert found.kl.value == pytest.approx(whole.kl.value)
    assert any("estimated from gradients" in note for note in found.notes)


def test_the_correction_changes_the_prediction_and_not_the_choice(tmp_path: Path) -> None:
    plain = allocated(ask(tmp_path, "3.3bpw"))
    kl_increases = SensitivityFile(Workspace(str(tmp_path)).sensitivity_file("key"))
    for treatment in CANDIDATES:
        choice = {name: treatment_key(treatment, "") for name in NAMES}
        added = sum(made_up(index, treatment) for index in range(len(NAMES)))
        kl_increases.put_joint_effects(MeasuredChoice(choice, 2 * added))
    kl_increases.save()
    found = allocated(
        Allocate(str(SAMPLE), Recipe(), "key", CANDIDATES, parse_budget("3.3bpw"), workspace=str(tmp_path))
    )
    assert found.choice.tolist() == plain.choice.tolist()
    assert found.kl.value == pytest.approx(2 * plain.kl.value, rel=1e-6)
    assert found.kl.high / found.kl.value < plain.kl.high / plain.kl.value
    assert found.kl_increase.sum() == pytest.approx(found.kl.value)


def test_the_reasons_are_what_the_other_choice_would_change(tmp_path: Path) -> None:
    found = allocated(ask(tmp_path, "3.6bpw"))
    total = sum(made_up(i, CANDIDATES[found.choice[i] - 1]) for i in range(len(NAMES)) if found.choice[i])
    assert found.kl.value == pytest.approx(total)
    for direction, sign in ((found.better, 1), (found.cheaper, -1)):
        for index, option in enumerate(direction.choice):
            if option < 0:
                continue
            assert sign * direction.cost[index] > 0
            before = (
                LAYERS[index].nbytes
                if not found.choice[index]
                else CANDIDATES[found.choice[index] - 1].bytes_after(LAYERS[index])
            )
            after = LAYERS[index].nbytes if not option else CANDIDATES[option - 1].bytes_after(LAYERS[index])
            assert direction.cost[index] == after - before
            mine = 0.0 if not found.choice[index] else made_up(index, CANDIDATES[found.choice[index] - 1])
            other = 0.0 if not option else made_up(index, CANDIDATES[option - 1])
            assert direction.kl[index] == pytest.approx(other - mine)
    better = -found.better.kl[found.better.choice >= 0] / found.better.cost[found.better.choice >= 0]
    assert better.max() <= found.price * (1 + 1e-9)


def test_other_layers_keep_what_the_recipe_gives_them(tmp_path: Path) -> None:
    base = Recipe((Rule(("role:embedding",), CANDIDATES[3]), Rule(("linears",), CANDIDATES[0])))
    found = allocated(ask(tmp_path, "4bpw", base_recipe=base, layers=tuple(NAMES[:7])))
    plan = {row.layer.name: row.treatment.tag for row in make_plan(CHECKPOINT, found.recipe).rows()}
    assert plan["model.embed_tokens"] == CANDIDATES[3].tag
    assert plan[NAMES[10]] == CANDIDATES[0].tag
    assert len(found.layers) == 7


def test_the_front_holds_every_budget_s_answer(tmp_path: Path) -> None:
    request = ask(tmp_path, "4bpw")
    front = allocated(request).front
    assert front.unit == "bytes"
    assert (np.diff(front.cost) > 0).all()
    assert (np.diff(front.kl) <= 0).all()
    for point in range(0, len(front.cost), 17):
        at = allocated(replace(request, budget=Budget("bits_per_weight", 8 * front.cost[point] / WEIGHTS)))
        assert at.kl.value == pytest.approx(front.kl[point])


def test_what_is_prepared_is_prepared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchvise.core.allocate import allocate as room

    allocator, request = Allocator(), ask(tmp_path, "4bpw")
    first = allocator.allocate(request, CHECKPOINT)
    monkeypatch.setattr(room, "prepare", lambda *_: pytest.fail("prepared again"))
    other = allocator.allocate(replace(request, budget=parse_budget("3bpw"), base_recipe=first.recipe), CHECKPOINT)
    assert other.added > first.added


@pytest.mark.parametrize("unit", ["bytes", "bits", "memory"])
def test_layers_that_surgery_drops_are_not_counted(tmp_path: Path, unit: str) -> None:
    """What a budget grants goes to the blocks that stay, and what is left meets it by the plan's own count."""
    base = Recipe(surgery=(DropBlocks((0,)),))
    left = make_plan(CHECKPOINT, base, allow_empty=True).checkpoint
    fixed = left.nbytes - sum(
        layer.nbytes for layer in left.layers if layer.kind == "linear" and layer.depth is not None
    )
    weights = sum(layer.parameters for layer in left.layers if layer.kind == "linear" and layer.depth is not None)
    bytes_asked = fixed + weights // 2
    cache = cache_bytes(left.config, 64)
    budget = {
        "bytes": Budget(BYTES, bytes_asked),
        "bits": Budget(BITS, 4.0),
        "memory": Budget(MEMORY, bytes_asked + cache, 64),
    }[unit]
    request = replace(ask(tmp_path, "4bpw", base_recipe=base), budget=budget)
    found = allocated(request)
    assert set(found.layers) == {layer.name for layer in LAYERS if layer.depth != 0}
    plan = make_plan(CHECKPOINT, found.recipe)
    treated = sum(row.bytes_after for row in plan.treated_rows)
    assert plan.bytes_after == fixed + treated
    assert 0.97 * weights / 2 < treated <= weights / 2
    assert found.cost == {"bits": treated, "bytes": plan.bytes_after, "memory": plan.bytes_after + cache}[unit]
    gone = next(layer.name for layer in LAYERS if layer.depth == 0)
    locked = allocated(replace(request, locked=((gone, CANDIDATES[0]),)))
    assert (locked.choice == found.choice).all()
