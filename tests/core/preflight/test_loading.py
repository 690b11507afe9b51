"""What runtimes load, told by what each of them is known to refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchvise.core.errors import UserError
from benchvise.core.export.targets.registry import targets
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.gguf import Gguf
from benchvise.core.methods.half_quadratic import HalfQuadratic
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import NvFloat4
from benchvise.core.methods.solver import Nearest
from benchvise.core.preflight.runtimes import RUNTIMES
from benchvise.core.recipe.recipe import KEEP, Treatment
from tests.core.preflight.preflight_samples import checked, fix, found, kinds, layer, network, recipe

INT4 = Treatment(Integer())
INT8 = Treatment(Integer(bits=8, granularity="channel"))
W8A8 = replace(INT8, activations=Activations())


@pytest.mark.parametrize(
    "treatment",
    [
        INT4,
        INT8,
        W8A8,
        Treatment(Integer(group_size=32)),
        Treatment(Integer(group_size=64, symmetric=False, bits=3)),
        Treatment(Floating(scales="weight")),
        Treatment(Floating(scales="weight"), activations=Activations(format="fp8")),
        Treatment(Floating(scales="weight", granularity="block")),
    ],
    ids=lambda treatment: treatment.tag,
)
def test_vllm_loads_what_its_own_kernels_take(treatment):
    answer = checked(recipe(("linears", treatment)), "vllm")
    assert answer.loads
    assert kinds(answer, "blocks") == set()
    assert "caveat" not in kinds(answer, "warns")
    assert found(answer, "loads").level == "fine"


@pytest.mark.parametrize(
    ("treatment", "kind", "label"),
    [
        (Treatment(Integer(granularity="tensor")), "granularity", "Use one scale per channel"),
        (Treatment(Integer(bits=8), activations=Activations()), "granularity", "Use one scale per channel"),
        (Treatment(Floating(scales="weight"), activations=Activations()), "inputs", "Leave the inputs"),
        (Treatment(Floating(scales="weight", granularity="block", block_rows=64)), "granularity", "Use one scale per"),
        (Treatment(NvFloat4(), activations=Activations()), "inputs", "Leave the inputs"),
    ],
    ids=lambda value: value.tag if isinstance(value, Treatment) else "",
)
def test_what_vllm_refuses_blocks_and_is_fixed(treatment, kind, label):
    answer = checked(recipe(("linears", treatment)), "vllm")
    finding = found(answer, kind)
    assert (answer.may_run, answer.loads) == (True, False)
    assert finding.level == "blocks"
    assert len(finding.layers) == 14
    assert "vLLM" in finding.detail
    fixed = checked(fix(finding, label).recipe, "vllm")
    assert fixed.loads


@pytest.mark.parametrize(
    ("treatment", "label", "after"),
    [
        (Treatment(Integer(bits=3)), "Use 4 bits instead of 3", Integer(bits=4)),
        (Treatment(Integer(bits=5)), "Use 8 bits instead of 5", Integer(bits=8)),
        (Treatment(Integer(group_size=256)), "Use groups of 128", Integer(group_size=128)),
        (Treatment(Integer(group_size=16)), "Use one scale per channel", Integer(granularity="channel")),
        (Treatment(Integer(bits=8, symmetric=False)), "Use symmetric scales", Integer(bits=8)),
        (Treatment(Integer(bits=8, symmetric=False), HalfQuadratic()), "Use symmetric scales", Integer(bits=8)),
    ],
    ids=lambda value: getattr(value, "tag", "") if isinstance(value, Treatment) else "",
)
def test_what_only_new_versions_load_warns(treatment, label, after):
    answer = checked(recipe(("linears", treatment)), "vllm")
    finding = found(answer, "caveat")
    assert answer.loads
    assert finding.level == "warns"
    assert "Humming" in finding.detail
    fixed = fix(finding, label).recipe
    assert [rule.treatment.scheme for rule in fixed.rules] == [after]
    if isinstance(treatment.solver, HalfQuadratic):
        assert fixed.rules[0].treatment.solver == Nearest(clip_search=True)
    assert "caveat" not in kinds(checked(fixed, "vllm"), "warns")


def test_vllm_takes_zero_points_of_4_bits_as_they_are():
    asked = recipe(("linears", Treatment(Integer(symmetric=False))))
    answer = checked(asked, "vllm")
    assert answer.loads
    assert not {"caveat", "adapted"} & {finding.kind for finding in answer.findings}
    assert "zero points (Marlin)" in found(answer, "loads").detail
    assert "adapted" in kinds(checked(asked, "transformers"), "tells")


def test_fused_layers_need_the_same_treatment_and_get_the_most_bits():
    asked = recipe(("linears", INT4), ("role:attention.v", INT8), ("role:mlp.up", KEEP))
    answer = checked(asked, "vllm")
    attention, mlp = (finding for finding in answer.findings if finding.kind == "fused")
    assert not answer.loads
    assert attention.title == "Query, key and value do not have the same treatment in 2 places"
    assert sorted(attention.layers)[:3] == [f"model.layers.0.self_attn.{part}_proj" for part in "kqv"]
    assert len(mlp.layers) == 4
    fixed = fix(attention, "Give query, key and value the same treatment").recipe
    after = checked(fixed, "vllm")
    assert [finding.layers for finding in after.findings if finding.kind == "fused"] == [mlp.layers]
    again = checked(fix(found(after, "fused"), "Give gate and up the same treatment").recipe, "vllm")
    assert again.loads
    assert not found(again, "loads").layers
    by_name = {target: rule.treatment for rule in fixed.rules for target in rule.targets}
    assert by_name["model.layers.0.self_attn.q_proj"] == INT8


def test_transformers_loads_mixed_layers_but_is_not_faster():
    answer = checked(recipe(("linears", INT4), ("role:attention.v", INT8)), "transformers")
    assert answer.loads
    assert found(answer, "speed").level == "warns"
    assert "decoded" in found(answer, "speed").detail


def test_experts_of_one_kind():
    many = network(experts=2)
    odd = checked(recipe(("linears", INT4), ("*.experts.1.*", INT8)), "vllm", "compressed-tensors", on=many)
    assert found(odd, "experts").level == "blocks"
    fixed = fix(found(odd, "experts"), "Give all experts the same treatment").recipe
    assert "experts" not in kinds(checked(fixed, "vllm", "compressed-tensors", on=many), "blocks")


def test_shapes_that_old_kernels_refuse_warn_and_can_be_kept():
    odd = network()
    odd = replace(odd, layers=(*odd.layers, layer("model.layers.0.extra", "linear", 40, 96)))
    answer = checked(recipe(("linears", Treatment(Integer(group_size=32)))), "vllm", on=odd)
    finding = found(answer, "shape")
    assert finding.layers == ("model.layers.0.extra",)
    kept = checked(fix(finding, "Keep this layer").recipe, "vllm", on=odd)
    assert "shape" not in kinds(kept, "warns")


def test_a_packed_head_warns():
    finding = found(checked(recipe(("linears", INT4), ("role:lm_head", INT4)), "vllm"), "head")
    assert finding.layers == ("lm_head",)
    assert "head" not in kinds(checked(fix(finding, "Keep the output head").recipe, "vllm"), "warns")


def test_nvfp4_scales_of_fused_layers_warn():
    answer = checked(recipe(("linears", Treatment(NvFloat4()))), "vllm")
    assert answer.loads
    assert len([finding for finding in answer.findings if finding.kind == "shared scale"]) == 2


@pytest.mark.parametrize(
    ("treatment", "batches"),
    [(INT4, "up to batch 16"), (W8A8, "at every batch"), (Treatment(Floating(scales="weight")), "up to batch 16")],
    ids=lambda value: value.tag if isinstance(value, Treatment) else "",
)
def test_where_vllm_is_faster(treatment, batches):
    finding = found(checked(recipe(("linears", treatment)), "vllm"), "speed")
    assert finding.level == "tells"
    assert batches in finding.title


def test_dense_is_loaded_and_no_faster():
    answer = checked(recipe(("linears", INT4)), "vllm", "dense")
    assert answer.loads
    assert found(answer, "speed").title == "Not faster in vLLM"


@pytest.mark.parametrize(("runtime", "title"), [("onnxruntime", "ONNX"), ("openvino", "OpenVINO")])
def test_graphs_are_written_for_what_runs_them(runtime, title):
    answer = checked(recipe(("linears", INT4)), runtime, "dense")
    assert not answer.loads
    assert fix(found(answer, "format"), f"Export as {title}").target in (title.lower(), runtime)
    answer = checked(recipe(("linears", INT4)), runtime)  # which finds the target by itself
    assert answer.loads
    assert "while decoding" in found(answer, "speed").title


@pytest.mark.parametrize("runtime", ["llama.cpp", "ollama", "lmstudio"])
def test_gguf_is_written_for_what_is_built_on_llama_cpp(runtime):
    block_types = recipe(("linears", Treatment(Gguf("q8_0"))))
    other = checked(block_types, runtime, "dense")
    assert not other.loads
    assert fix(found(other, "format"), "Export as GGUF").target == "gguf"
    answer = checked(block_types, runtime)  # which finds the target by itself
    assert answer.loads
    assert "while decoding" in found(answer, "speed").title


@pytest.mark.parametrize(
    ("treatment", "hidden", "nearest"),
    [
        (INT4, 256, "q4_k"),
        (Treatment(Integer(symmetric=False, group_size=32)), 96, "q5_0"),
        (INT8, 256, "q8_0"),
        (Treatment(Integer(bits=3)), 256, "q3_k"),
        (Treatment(Integer(bits=2)), 256, "q2_k"),
    ],
    ids=lambda value: value.tag if isinstance(value, Treatment) else "",
)
def test_the_nearest_gguf_type_is_offered(treatment, hidden, nearest):
    answer = checked(recipe(("linears", treatment)), "llama.cpp", "gguf", on=network(hidden, 2 * hidden))
    offered = fix(found(answer, "written dense"), f"Use {nearest}, which GGUF holds")
    again = checked(offered.recipe, "llama.cpp", "gguf", on=network(hidden, 2 * hidden))
    assert again.loads
    assert not any(finding.kind == "written dense" for finding in again.findings)


def test_every_fact_has_a_source():
    for runtime in RUNTIMES.values():
        assert runtime.source
        served = any(runtime.key in target.runtimes for target in targets())
        assert served
        assert runtime.forms
        assert all(form.source and form.why for form in runtime.forms)


def test_unknown_runtimes_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="vllm"):
        checked(recipe(("linears", INT4)), "vlm")
