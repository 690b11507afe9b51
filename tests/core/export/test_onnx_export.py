"""ONNX Runtime is the oracle: it computes what the run computes, generates with its cache, and encodes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from benchvise.core.errors import Cancelled, OutputError
from benchvise.core.export.export import export
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.onnx import runtime_check
from benchvise.core.export.onnx.layers import QDQ
from benchvise.core.export.onnx.modules import QdqLinear
from benchvise.core.export.targets.registry import target_of
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Export
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from tests.core.export.export_models import SIZES, export_run, integer_recipe, make_run, save_model, workbench_logits

ort = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow
T = transformers

RECIPE = integer_recipe(
    ("linears", Integer(4, symmetric=False, group_size=32)),
    ("*.q_proj", Integer(2, group_size=32)),
    ("*.k_proj", Integer(3, symmetric=False, group_size=64)),
    ("*.v_proj", Integer(8, granularity="channel")),
    ("*.down_proj", Integer(4, symmetric=False, granularity="channel")),
    ("embeddings", Integer(8, granularity="channel")),
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A network of one block, a run of it, and its ONNX export."""
    folder = tmp_path_factory.mktemp("onnx")
    checkpoint = save_model(folder / "model", "Llama", torch.float16, **SIZES | {"num_hidden_layers": 1})
    run = make_run(checkpoint, RECIPE, folder / "work")
    exported = export_run(run, folder / "out", folder / "work", "onnx")
    return {
        "checkpoint": checkpoint,
        "run": run,
        "work": folder / "work",
        "out": folder / "out",
        "exported": exported,
        "logits": workbench_logits(checkpoint, run, folder / "work").float(),
    }


def session_of(folder: Path) -> Any:
    return ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])


def feed_of(session: Any, tokens: torch.Tensor, past: dict[str, Any], at: int = 0) -> dict[str, Any]:
    count = len(tokens)
    empty = {each.name: each.shape for each in session.get_inputs() if each.name.startswith("past")}
    feed = {name: past.get(name, np.zeros((count, shape[1], 0, shape[3]), np.float32)) for name, shape in empty.items()}
    feed["input_ids"] = tokens.numpy()
    feed["position_ids"] = np.tile(np.arange(at, at + tokens.shape[1]), (count, 1))
    return feed | {"attention_mask": np.ones((count, at + tokens.shape[1]), np.int64)}


def test_it_computes_the_run_and_goes_on_with_its_cache(finished: dict[str, Any]) -> None:
    expected = finished["logits"]
    tokens = torch.arange(24).view(2, 12) % 60
    session = session_of(finished["out"])
    whole, *_ = session.run(None, feed_of(session, tokens, {}))
    torch.testing.assert_close(torch.from_numpy(whole), expected, rtol=0, atol=0.02 * float(expected.abs().max()))
    _, *present = session.run(None, feed_of(session, tokens[:, :7], {}))
    past = {f"past_key_values.{number // 2}.{('key', 'value')[number % 2]}": x for number, x in enumerate(present)}
    rest, *_ = session.run(None, feed_of(session, tokens[:, 7:], past, at=7))
    np.testing.assert_allclose(rest, whole[:, 7:], atol=1e-4)


def test_it_says_what_was_verified_and_what_stays_dense(finished: dict[str, Any]) -> None:
    exported = finished["exported"]
    assert "ONNX Runtime" in exported.verified
    assert "mean KL" in exported.verified
    assert "accuracy level 4" in exported.verified
    told = " ".join(sentences(exported.warnings))
    assert "model.embed_tokens" in told
    assert "4-bit codes" in told
    assert "run_with_onnxruntime.py" in exported.files


def test_changed_codes_are_found(finished: dict[str, Any]) -> None:
    weights = open_weights(f"run:{finished['run']}", str(finished["work"]))
    from benchvise.core.export.loadable_plan import loadable_plan

    plan, data = loadable_plan("onnx", weights), finished["out"] / "model.onnx.data"
    target_of("onnx").verify(finished["out"], plan, weights, NullProgress())
    whole = data.read_bytes()
    codes = next(values for name, values in plan.layers[2].blocks(weights) if name.endswith("qweight"))
    at = whole.index(codes.numpy().tobytes())
    data.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(RuntimeError, match="codes"):
        target_of("onnx").verify(finished["out"], plan, weights, NullProgress())
    data.write_bytes(whole)


class Stopped(NullProgress):
    def check_cancelled(self) -> None:
        raise Cancelled


def test_a_cancelled_export_leaves_nothing(finished: dict[str, Any], tmp_path: Path) -> None:
    ask = Export(finished["run"], "onnx", str(tmp_path / "new"), str(finished["work"]))
    with pytest.raises(Cancelled):
        export(ask, Stopped())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("most", "word"), [(1.0, "taken"), (-1.0, "refused")])
def test_accuracy_level_4_is_taken_only_up_to_the_limit(
    finished: dict[str, Any], monkeypatch: pytest.MonkeyPatch, most: float, word: str
) -> None:
    import onnx

    from benchvise.core.export.loadable_plan import loadable_plan

    weights = open_weights(f"run:{finished['run']}", str(finished["work"]))
    monkeypatch.setattr(runtime_check, "MAX_FLIPS", most)
    runtime_check.choose_accuracy_level(finished["out"], loadable_plan("onnx", weights), weights)
    graph = onnx.load(finished["out"] / "model.onnx", load_external_data=False)
    levels = {a.i for node in graph.graph.node for a in node.attribute if a.name == "accuracy_level"}
    assert levels == {4 if word == "taken" else 0}
    assert graph.metadata_props[-1].value.startswith(word)
    assert str(Path.cwd()).encode() not in (finished["out"] / "model.onnx").read_bytes()


def test_int8_products_are_those_of_int8_codes(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(-128, 128, (24, 48), generator=generator, dtype=torch.int8)
    scales, step = torch.rand(24, generator=generator) / 100, torch.tensor(0.05)
    layout = PackedLayout(QDQ, 8, True, "channel", None)
    module = QdqLinear((24, 48), layout, {"qweight": codes, "scales": scales, "input": step}, None)
    x = torch.randn(3, 48, generator=generator)
    program: Any = torch.onnx.export(module.eval(), (x,), dynamo=True, verbose=False)
    program.save(str(tmp_path / "model.onnx"))
    session = session_of(tmp_path)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    rounded = (x / step).round().clamp(-128, 127)
    expected = (rounded.double() @ codes.double().T) * step * scales
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["bert", "resnet"])
def test_encoders_and_pictures(tmp_path: Path, kind: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1, "intermediate_size": 96}
    if kind == "bert":
        network: Any = T.BertModel(T.BertConfig(vocab_size=60, **sizes))
        given = {"input_ids": torch.arange(10)[None], "attention_mask": torch.ones((1, 10), dtype=torch.int64)}
        given["token_type_ids"] = torch.zeros_like(given["input_ids"])
    else:
        config = T.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], num_labels=4, layer_type="basic")
        network = T.ResNetForImageClassification(config)
        given = {"pixel_values": torch.rand(1, 3, 224, 224)}
    network.save_pretrained(tmp_path / "model")
    recipe = integer_recipe(("all", Integer(8, granularity="channel")))
    run = make_run(tmp_path / "model", recipe, tmp_path / "work")
    exported = export_run(run, tmp_path / "out", tmp_path / "work", "onnx")
    assert "computes the same" in exported.verified
    export_run(run, tmp_path / "dense", tmp_path / "work", "dense")
    (found, *_) = session_of(tmp_path / "out").run(None, {name: value.numpy() for name, value in given.items()})
    with torch.no_grad():
        expected = type(network).from_pretrained(tmp_path / "dense").eval()(**given)[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_networks_without_a_graph_are_named_before_the_run(tmp_path: Path) -> None:
    config = T.T5Config(vocab_size=60, d_model=64, d_kv=16, d_ff=96, num_layers=1, num_heads=4)
    T.T5ForConditionalGeneration(config).save_pretrained(tmp_path / "model")
    run = make_run(tmp_path / "model", integer_recipe(("linears", Integer(group_size=32))), tmp_path / "work")
    with pytest.raises(OutputError, match="encoder and a decoder"):
        export_run(run, tmp_path / "out", tmp_path / "work", "onnx")


def test_the_sample_is_a_program(finished: dict[str, Any]) -> None:
    done = subprocess.run([sys.executable, "-m", "py_compile", str(finished["out"] / "run_with_onnxruntime.py")])
    assert done.returncode == 0


def test_openvino_reads_the_same_graph_with_its_codes(finished: dict[str, Any], tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    first, second = (export_run(finished["run"], tmp_path / name, finished["work"], "openvino") for name in "ab")
    assert re.search(r"OpenVINO [\d.]+ computes the same: mean KL", first.verified)
    for name in first.files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    model = openvino.Core().read_model(tmp_path / "a" / "openvino_model.xml")
    types = {
        node.get_friendly_name(): node.get_element_type().get_type_name()
        for node in model.get_ops()
        if node.get_output_size()
    }
    assert types["model.model.layers.0.mlp.up_proj.qweight"] == "u4"
    assert types["model.model.layers.0.self_attn.q_proj.qweight"] == "u2"
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    tokens = torch.arange(24).view(2, 12) % 60
    feed = feed_of(session_of(finished["out"]), tokens, {})
    expected = finished["logits"]
    found = torch.from_numpy(compiled(feed)[compiled.outputs[0]])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * float(expected.abs().max()))
    assert second.verified == first.verified
    weights = open_weights(f"run:{finished['run']}", str(finished["work"]))
    from benchvise.core.export.loadable_plan import loadable_plan

    plan, data = loadable_plan("openvino", weights), tmp_path / "a" / "openvino_model.bin"
    codes = next(values for name, values in plan.layers[2].blocks(weights) if name.endswith("qweight"))
    whole = bytearray(data.read_bytes())
    whole[whole.index(codes.numpy().tobytes())] ^= 1
    data.write_bytes(whole)
    with pytest.raises(RuntimeError, match="codes"):
        target_of("openvino").verify(tmp_path / "a", plan, weights, NullProgress())


def test_a_program_of_torch_decodes_the_same_codes(finished: dict[str, Any], tmp_path: Path) -> None:
    exported = export_run(finished["run"], tmp_path / "out", finished["work"], "torch-export")
    assert re.search(r"torch [\d.]+ computes the same: mean KL", exported.verified)
    file = tmp_path / "out" / "model.pt2"
    assert str(Path(torch.__file__).parent).encode() not in file.read_bytes()
    program = torch.export.load(file)
    assert program.state_dict["model.model.layers.0.mlp.up_proj.qweight"].dtype == torch.uint8
    tokens = torch.arange(24).view(2, 12) % 60
    heads = torch.zeros(2, SIZES["num_key_value_heads"], 0, SIZES["hidden_size"] // SIZES["num_attention_heads"])
    places = torch.arange(12).repeat(2, 1)
    with torch.no_grad():
        logits, past = program.module()(tokens[:, :7], torch.ones_like(tokens[:, :7]), places[:, :7], [(heads, heads)])
        rest, _ = program.module()(tokens[:, 7:], torch.ones_like(tokens), places[:, 7:], past)
    found, expected = torch.cat((logits, rest), 1), finished["logits"]
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * float(expected.abs().max()))
