"""Findings about the recipe itself, the text, the memory and the disk; and that fixes work."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint, Layer, TensorEntry
from benchvise.core.errors import UserError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.preflight.check import check_recipe
from benchvise.core.preflight.facts import Facts, RunsDense, Surprise, TextFound
from benchvise.core.preflight.gather import gather
from benchvise.core.preflight.reference_model import reference_model
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Estimate
from benchvise.core.recipe.presets import load_preset, preset_names
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from tests.core.preflight.preflight_samples import ROOMY, checked, fix, found, kinds, layer, network, recipe

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
INT4 = Treatment(Integer())
GPTQ = Treatment(Integer(), ErrorFeedback())
Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("name", preset_names())
def test_every_fix_of_every_preset_does_away_with_its_finding(name):
    reference = network(192, 384)
    for runtime in ("", "vllm", "openvino"):
        answer = checked(load_preset(name), runtime, on=reference)
        for finding in answer.findings:
            for offered in finding.fixes:
                after = checked(
                    offered.recipe or load_preset(name), runtime, offered.target or "auto", on=reference, facts=ROOMY
                )
                same = [
                    other
                    for other in after.findings
                    if other.kind == finding.kind and (set(other.layers) & set(finding.layers) or not other.layers)
                ]
                assert not same, (runtime, finding.title, offered.label)
                assert after.may_run


def test_findings_come_by_level():
    answer = checked(load_preset("nf4-g64"), "llama.cpp")
    order = ["blocks", "warns", "tells", "fine"]
    assert [finding.level for finding in answer.findings] == sorted((f.level for f in answer.findings), key=order.index)


def test_groups_that_do_not_divide_block_with_ways_out():
    odd = network(192, 344)
    answer = checked(recipe(("linears", INT4)), on=odd)
    finding = found(answer, "recipe")
    assert not answer.may_run
    assert len(finding.layers) == 14
    assert "group size 128 does not divide" in finding.title
    labels = [each.label for each in finding.fixes]
    assert labels == ["Fall back where groups do not divide", "Use one scale per channel"]
    assert all(checked(each.recipe, on=odd).may_run for each in finding.fixes)
    partly = found(checked(recipe(("linears", Treatment(Integer(group_size=64)))), on=odd), "recipe")
    kept = checked(fix(partly, "Keep these 2 layers").recipe, on=odd)
    assert kept.may_run
    divides = found(checked(recipe(("linears", INT4)), on=network(192, 384)), "recipe")
    assert fix(divides, "Use groups of 64 (divides all layers)")


def test_a_recipe_that_does_nothing():
    answer = checked(Recipe())
    assert not answer.may_run
    assert checked(found(answer, "nothing").fixes[0].recipe).may_run


def test_what_stays_as_large_warns():
    answer = checked(recipe(("linears", Treatment(Sparse()))))
    finding = found(answer, "no gain")
    assert finding.level == "warns"
    assert "no gain" not in kinds(checked(finding.fixes[0].recipe), "warns")


def test_layers_that_would_become_larger():
    larger = recipe(("role:attention.q", Treatment(Integer(8, symmetric=False, group_size=2))), ("role:mlp.up", INT4))
    finding = found(checked(larger), "larger")
    assert len(finding.layers) == 2
    assert "larger" not in kinds(checked(fix(finding, "Keep these 2").recipe), "warns")


def test_patterns_that_match_nothing_can_be_removed():
    asked = recipe(("linears", INT4), ("model.layers.9.*", INT4))
    finding = found(checked(asked), "unmatched")
    assert fix(finding, "Remove").recipe.rules == asked.rules[:1]


def test_inputs_that_stay():
    asked = recipe(
        ("linears", Treatment(Integer(), activations=Activations())),
        ("embeddings", Treatment(Integer(), activations=Activations())),
    )
    finding = found(checked(asked), "inputs stay")
    assert finding.layers == ("model.embed_tokens",)
    assert "inputs stay" not in kinds(checked(finding.fixes[0].recipe), "warns")


def test_dense_layers_and_dense_everything():
    some = found(
        checked(recipe(("linears", INT4), ("role:mlp.down", Treatment(Codebook(group_size=64))))), "written dense"
    )
    assert len(some.layers) == 2
    assert [each.label for each in some.fixes] == ["Keep these 2 layers", "Use 4-bit integers in groups of 128"]
    everything = found(checked(recipe(("linears", Treatment(Codebook(group_size=64))))), "everything dense")
    assert len(everything.layers) == 14
    plain = replace(network(), config={})
    told = found(checked(recipe(("linears", INT4)), on=plain), "everything dense")
    assert (told.level, told.title) == ("tells", "The result can only be exported dense")


def test_an_already_quantised_checkpoint_blocks():
    done = replace(network(), quantization={"quant_method": "gptq"})
    answer = checked(recipe(("linears", INT4)), on=done)
    assert kinds(answer, "blocks") == {"checkpoint"}


def test_text_that_is_missing_blocks_and_is_fixed():
    facts = replace(
        ROOMY, text=TextFound(refusal=UserError("The text cannot be read", where="a.txt", remedy="Give one."))
    )
    asked = replace(recipe(("linears", GPTQ)), calibration=replace(Recipe().calibration, text="a.txt"))
    asked = replace(asked, tuning=(Polish(),), transforms=(Smooth(),))
    finding = found(checked(asked, facts=facts), "calibration")
    assert finding.level == "blocks"
    assert fix(finding, "Use the shipped text").recipe.calibration.text == ""
    without = fix(finding, "Use nearest rounding").recipe
    assert not without.needs_calibration
    assert without.rules[0].treatment == Treatment(Integer(), Nearest(clip_search=True))


@pytest.mark.parametrize(("windows", "level"), [(121, "tells"), (12, "warns")])
def test_text_that_is_short(windows, level):
    text = TextFound(windows, 256)
    finding = found(checked(recipe(("linears", GPTQ)), facts=replace(ROOMY, text=text)), "calibration")
    assert finding.level == level
    assert fix(finding, "Use").recipe.calibration.windows == windows


def test_text_that_is_enough_is_fine():
    facts = replace(ROOMY, text=TextFound(128, 256))
    assert found(checked(recipe(("linears", GPTQ)), facts=facts), "calibration").level == "fine"


def test_what_a_network_refuses_blocks():
    facts = replace(ROOMY, surprises=(Surprise("transform", "It cannot be turned", refuses=True),))
    asked = replace(recipe(("linears", INT4)), transforms=(Smooth(),))
    answer = checked(asked, facts=facts)
    assert not answer.may_run
    assert fix(found(answer, "transform"), "Leave transforms out").recipe.transforms == ()


def flown(asked, facts, tmp_path, out=""):
    """Checked as a checkpoint with a place on the disk is."""
    request = CheckRecipe("/models/small", asked, out=out, workspace=str(tmp_path / "workspace"))
    return check_recipe(network(), request, lambda _: facts)


def test_disks_are_added_up_where_they_are_one(tmp_path, monkeypatch):
    asked = recipe(("linears", INT4))
    together = found(flown(asked, ROOMY, tmp_path, str(tmp_path / "out")), "disk")
    assert together.level == "fine"
    assert "for the workspace and" in together.detail
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10, 0, 1_000_000))
    alone = flown(asked, ROOMY, tmp_path)
    assert found(alone, "disk").level == "fine"
    both = flown(asked, ROOMY, tmp_path, str(tmp_path / "out"))
    assert found(both, "disk").level == "blocks"
    assert not both.may_run


def test_an_output_that_cannot_be_written_blocks(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("x")
    answer = flown(recipe(("linears", INT4)), ROOMY, tmp_path, str(tmp_path / "full"))
    assert found(answer, "output").level == "blocks"
    resumed = flown(recipe(("linears", INT4)), replace(ROOMY, own_output=True), tmp_path, str(tmp_path / "full"))
    assert resumed.may_run, "the run that is resumed may have written it, and compares it"


@pytest.mark.parametrize(
    ("peak", "level"),
    [((2.0, 1.9, 2.1), "fine"), ((3.5, 3.0, 4.5), "warns"), ((9.0, 8.5, 9.5), "blocks")],
)
def test_memory_by_its_forecast(peak, level, tmp_path):
    gigabytes = Estimate(*(1e9 * value for value in peak))
    facts = replace(ROOMY, memory_free=4 * 10**9, memory_total=8 * 10**9, peak_bytes=gigabytes)
    finding = found(flown(recipe(("linears", GPTQ)), facts, tmp_path), "memory")
    assert finding.level == level
    assert "≈" in finding.title
    if level != "fine":
        assert not fix(finding, "Use the streaming nearest solver").recipe.needs_calibration


def test_memory_that_is_surely_not_there(tmp_path):
    facts = replace(ROOMY, memory_free=10**6, memory_total=10**6)
    asked = replace(recipe(("linears", INT4)), tuning=(Polish(),))
    finding = found(flown(asked, facts, tmp_path), "memory")
    assert finding.level == "blocks"
    assert "float32" in finding.detail
    assert fix(finding, "Do without tuning").recipe.tuning == ()
    on_gpu = replace(ROOMY, gpu_free=10**6)
    assert found(flown(asked, on_gpu, tmp_path), "gpu memory").level == "warns"


def test_what_is_not_forecast_is_said_so(tmp_path):
    answer = flown(recipe(("linears", INT4)), ROOMY, tmp_path)
    assert "not forecast yet" in found(answer, "memory unknown").title
    assert "not forecast yet" in found(answer, "time unknown").title
    known = replace(ROOMY, seconds=Estimate(180.0, 150.0, 240.0))
    assert (
        found(flown(recipe(("linears", INT4)), known, tmp_path), "time").title
        == "Takes ≈ 3 min 00 s (2 min 30 s to 4 min 00 s)"
    )


def test_the_reference_network_stands_for_checkpoints_to_come():
    reference = reference_model()
    assert isinstance(reference, Checkpoint)
    assert 8.0e9 < reference.parameters < 8.1e9
    assert checked(load_preset("int4-g128"), "vllm", on=reference).loads


def test_much_that_would_run_dense_is_told_before_the_run(tmp_path):
    """The sample's 172 inputs in groups of 43 suit no kernel: 43 is no multiple of 32."""
    sample = open_checkpoint(str(SAMPLE))
    awkward = Recipe(
        (
            Rule(("linears",), Treatment(Integer(4, group_size=32))),
            Rule(("role:mlp.down",), Treatment(Integer(4, group_size=43))),
        )
    )
    request = CheckRecipe(str(SAMPLE), awkward, workspace=str(tmp_path))
    finding = found(check_recipe(sample, request, lambda plan: gather(plan, request)), "runs dense")
    down = [each for each in sample.layers if each.role == "mlp.down"]
    linears = sum(each.nbytes for each in sample.layers if each.kind == "linear")
    assert finding.layers == tuple(each.name for each in down)
    assert finding.level == "warns"
    assert finding.title.startswith(f"{sum(each.nbytes for each in down) / linears:.0%} ")
    assert "groups of 43" in finding.detail
    fitted = replace(request, recipe=load_preset("gptq-int4-g128"))
    answer = check_recipe(sample, fitted, lambda plan: gather(plan, fitted))
    assert "runs dense" not in {each.kind for each in answer.findings}


@pytest.mark.parametrize(("nbytes", "runtime", "told"), [(10, "", False), (11, "", True), (90, "vllm", False)])
def test_little_that_runs_dense_is_not_worth_a_word(nbytes, runtime, told):
    facts = Facts(dense=(RunsDense("odd", ("a",), nbytes),), linear_bytes=100, memory_free=1 << 40)
    answer = checked(recipe(("linears", INT4)), runtime, facts=facts)
    assert ("runs dense" in {each.kind for each in answer.findings}) is told


def test_ranks_that_the_run_finds_are_told_as_that():
    answer = checked(load_preset("lowrank-80"), on=network(192, 384))
    told = found(answer, "shared out")
    assert (told.level, told.title, len(told.layers)) == ("tells", "The ranks of 14 layers are found in the run", 14)
    assert "lost" not in {finding.kind for finding in answer.findings}


def test_bits_that_the_run_finds_are_told_as_that():
    answer = checked(load_preset("quick-3bit"), on=network(192, 384))
    told = found(answer, "shared out")
    assert (told.level, told.title, len(told.layers)) == ("tells", "The bits of 14 layers are found in the run", 14)
    over = found(checked(load_preset("quick-2bit"), on=network(64, 64)), "over budget")
    assert (over.level, over.title) == ("warns", "14 layers take more than the budget")


def test_convolutions_that_hold_most_of_the_weights_can_be_included():
    convolutions = tuple(
        Layer(
            f"conv{number}",
            TensorEntry(f"conv{number}.weight", "float32", (64, 64, 3, 3), "", 0, 4 * 64 * 64 * 9),
            "conv",
            "conv",
            None,
        )
        for number in range(3)
    )
    classifier = Checkpoint("/m", "safetensors", (*convolutions, layer("linear", "head", 10, 64, None, "float32")), {})
    asked = recipe(("linears", Treatment(Integer(8, granularity="channel"))))
    finding = found(checked(asked, on=classifier), "left alone")
    assert (finding.level, finding.title) == ("warns", "3 convolutions stay as they are")
    assert finding.layers == ("conv0", "conv1", "conv2")
    included = checked(finding.fixes[0].recipe, on=classifier)
    assert "left alone" not in {one.kind for one in included.findings}
    assert "left alone" not in {one.kind for one in checked(asked).findings}
