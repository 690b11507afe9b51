"""GGUF: llama.cpp loads what is written and computes what `transformers` computes; the package `gguf` reads it back."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM

from benchvise.app.__main__ import main
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import OutputError
from benchvise.core.export.choose_target import choose_plan, plan_export
from benchvise.core.export.convert import convert
from benchvise.core.export.export import export
from benchvise.core.export.gguf import container
from benchvise.core.export.gguf.architectures import ARCHITECTURES
from benchvise.core.export.targets.gguf import GgufTarget
from benchvise.core.export.targets.registry import target_of
from benchvise.core.job.job import compress
from benchvise.core.methods.gguf import TYPES, Gguf
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import Microscaling
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Convert, Export
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.runtime.llama_cpp import ask
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from tests.core.export.export_models import SAMPLE, save_model
from tests.core.export.gguf_models import MODELS, save_gguf_model

TOKENS = [[(7 * place + 3) % 96 for place in range(48)], [5, 1, 90, 33, 2, 2, 60]]

needs_llama = pytest.mark.skipif(not ask.is_installed(), reason="llama.cpp is not installed")


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports that llama.cpp does not compute by itself: the test asks it."""
    monkeypatch.setattr(GgufTarget, "run", lambda *_: "")


def converted(source: Path, out: Path) -> Path:
    convert(Convert(str(source), "gguf", str(out)), NullProgress())
    return out


def divergence(file: Path, folder: Path) -> float:
    """Mean KL of what llama.cpp computes from the file to what `transformers` computes from the folder."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    found = []
    for tokens, theirs in zip(TOKENS, ask.logits(file, TOKENS), strict=True):
        with torch.no_grad():
            ours = model(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
        other = torch.from_numpy(theirs.copy()).double().log_softmax(-1)
        found.append((ours.exp() * (ours - other)).sum(-1))
    return float(torch.cat(found).mean())


def values_of(file: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Every tensor as the package `gguf` reads it, float32."""
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        for tensor in gguf.GGUFReader(file).tensors
    }


def text_of(file: Path, key: str) -> Any:
    return gguf.GGUFReader(file).fields[key].contents()


@needs_llama
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", MODELS)
def test_llama_cpp_computes_what_transformers_computes(name: str, tmp_path: Path) -> None:
    folder = save_gguf_model(name, tmp_path / "model")
    assert divergence(converted(folder, tmp_path / "x.gguf"), folder) < 1e-5


def test_every_architecture_has_a_network_in_these_tests() -> None:
    kinds = {getattr(transformers, f"{kind}Config")().model_type for kind, _ in MODELS.values() if kind != "Gemma3"}
    written = {name for each in ARCHITECTURES for name in each.model_types}
    assert written - kinds == {"bert", "gemma3_text"}  # an encoder has a test of its own


def test_settings_that_a_config_leaves_out_are_those_of_transformers() -> None:
    for architecture in ARCHITECTURES:
        for model_type in architecture.model_types[:1]:
            config = transformers.AutoConfig.for_model(model_type)
            said = {**config.to_dict(), **(getattr(config, "rope_parameters", None) or {})}
            for key, value in architecture.settings.items():
                names = next(
                    (each.config for each in architecture.keys if key in each.config and not each.added), (key,)
                )
                theirs = next((said[name] for name in names if said.get(name) is not None), None)
                assert theirs in (value, None), (model_type, key)


@pytest.fixture(scope="module")
def divisible(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama whose rows every block divides."""
    sizes = {"hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4}
    folder = tmp_path_factory.mktemp("divisible") / "model"
    return save_model(
        folder, "Llama", torch.bfloat16, **sizes, num_key_value_heads=2, vocab_size=96, tie_word_embeddings=False
    )


def run_of(checkpoint: Path, workspace: Path, *rules: tuple[str, Any]) -> str:
    recipe = Recipe(tuple(Rule((target,), Treatment(scheme)) for target, scheme in rules), name="test")
    return compress(Compress(str(checkpoint), recipe, workspace=str(workspace)), NullProgress()).run


@needs_llama
def test_the_codes_of_every_type_are_carried_over_and_llama_cpp_computes_them(divisible: Path, tmp_path: Path) -> None:
    kinds = [kind for kind in TYPES if kind != "iq1_s"]
    linears = [layer for layer in open_checkpoint(divisible).layers if layer.kind == "linear"]
    rules = [(layer.name, Gguf(kind)) for layer, kind in zip(linears * 2, kinds, strict=False)]
    rules = rules[: len(linears)]
    run = run_of(divisible, tmp_path / "w", *rules)
    exported = export(Export(run, "gguf", str(tmp_path / "x.gguf"), str(tmp_path / "w")), NullProgress())
    assert [warning.kind for warning in exported.warnings] == ["tokenizer"]
    assert exported.verified.startswith("llama.cpp computes the same")
    weights = open_weights(f"run:{run}", str(tmp_path / "w"))
    found = values_of(tmp_path / "x.gguf")
    for layer in linears:
        name = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2).get_name(layer.tensor.name, (".weight",))
        ours = weights.dense(layer).float()
        theirs = torch.from_numpy(found[name])
        if ".attn_q." in name or ".attn_k." in name:
            heads = 4 if ".attn_q." in name else 2
            theirs = theirs.view(heads, -1, 2, 256).transpose(1, 2).reshape(ours.shape)
        assert torch.equal(theirs.to(torch.bfloat16).float(), ours), name


def test_mxfp4_codes_are_carried_over(divisible: Path, tmp_path: Path) -> None:
    run = run_of(divisible, tmp_path / "w", ("*.mlp.*", Microscaling()))
    export(Export(run, "gguf", str(tmp_path / "x.gguf"), str(tmp_path / "w")), NullProgress())
    weights = open_weights(f"run:{run}", str(tmp_path / "w"))
    ours = weights.dense(weights.checkpoint.layer("model.layers.1.mlp.up_proj")).float()
    theirs = torch.from_numpy(values_of(tmp_path / "x.gguf")["blk.1.ffn_up.weight"])
    assert torch.equal(theirs, ours)


def test_what_no_type_holds_is_named_before_the_run(divisible: Path) -> None:
    recipe = Recipe((Rule(("*.mlp.*",), Treatment(Integer(3, granularity="channel"))),))
    found = plan_export(make_plan(open_checkpoint(divisible), recipe), "gguf")
    assert not found.packed()
    (warning, _) = sentences(found.plan_warnings)
    assert "written dense" in warning
    assert "no type of llama.cpp" in warning


def test_rows_that_blocks_do_not_divide_have_the_declared_type(tmp_path: Path) -> None:
    folder = save_gguf_model("llama", tmp_path / "model", torch.bfloat16)
    recipe = Recipe((Rule(("linears",), Treatment(Gguf("q4_k"))),))
    plan = make_plan(open_checkpoint(folder), recipe)
    assert any("Q5_0 instead of Q4_K" in each for each in sentences(plan.plan_warnings))
    found = plan_export(plan, "gguf")
    kinds = {tensor.kind for layer in found.layers for tensor in layer.written if len(tensor.shape) > 1}  # type: ignore[attr-defined]
    assert kinds == {"q5_0", "bf16"}


def test_bytes_are_exact_and_the_same_each_time(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(SAMPLE)
    plan = choose_plan("gguf", checkpoint, lambda _: KEEP)
    for name in ("a", "b"):
        converted(SAMPLE, tmp_path / f"{name}.gguf")
    first, second = ((tmp_path / f"{name}.gguf").read_bytes() for name in ("a", "b"))
    assert first == second
    assert len(first) == target_of("gguf").disk_bytes(plan)


@needs_llama
def test_llama_cpp_reads_text_as_the_sample_does(tmp_path: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(SAMPLE)
    texts = ["Once upon a time, Tim's dog ran!", "  two  spaces\nand a line", "naïve 日本 🙂", ""]
    told = ask.tell(converted(SAMPLE, tmp_path / "x.gguf"), texts)
    assert [list(each) for each in told.tokens] == [tokenizer(text)["input_ids"] for text in texts]


def test_template_and_special_tokens_travel(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "model")
    settings = json.loads((SAMPLE / "tokenizer_config.json").read_text()) | {"chat_template": "{{ messages }}"}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(settings))
    file = converted(tmp_path / "model", tmp_path / "x.gguf")
    assert text_of(file, "tokenizer.chat_template") == "{{ messages }}"
    ids = [text_of(file, f"tokenizer.ggml.{name}_token_id") for name in ("bos", "eos", "unknown")]
    assert (ids, text_of(file, "tokenizer.ggml.add_bos_token")) == ([1, 2, 0], True)


def test_a_gguf_file_is_written_again_as_it_was(tmp_path: Path) -> None:
    first = converted(SAMPLE, tmp_path / "a.gguf")
    second = converted(first, tmp_path / "b.gguf")
    old, new = gguf.GGUFReader(first), gguf.GGUFReader(second)
    assert {tensor.name: tensor.data.tobytes() for tensor in old.tensors} == {
        tensor.name: tensor.data.tobytes() for tensor in new.tensors
    }
    kept = {key for key in old.fields if not key.startswith(("GGUF.", "benchvise."))}
    assert {key: text_of(first, key) for key in kept} == {key: text_of(second, key) for key in kept}


@needs_llama
def test_an_opened_file_is_compressed_further(tmp_path: Path) -> None:
    folder = save_gguf_model("llama 3", tmp_path / "model")
    first = converted(folder, tmp_path / "a.gguf")
    run = run_of(first, tmp_path / "w", ("linears", Gguf("q8_0")))
    exported = export(Export(run, "gguf", str(tmp_path / "b.gguf"), str(tmp_path / "w")), NullProgress())
    assert exported.verified == "llama.cpp loads it"  # the table is nothing that the workbench's network has
    assert divergence(tmp_path / "b.gguf", folder) < 1e-3
    assert np.array_equal(values_of(first)["rope_freqs.weight"], values_of(tmp_path / "b.gguf")["rope_freqs.weight"])


@needs_llama
def test_a_folder_gets_several_files_when_they_are_large(
    divisible: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(container, "SPLIT_BYTES", 1_000_000)
    converted(divisible, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").glob("*.gguf"))
    assert len(names) > 1
    assert names[0] == f"model-00001-of-{len(names):05d}.gguf"
    assert ask.tell(tmp_path / "out" / names[0]).vocabulary == 96


@needs_llama
@pytest.mark.usefixtures("unchecked")
def test_the_samples_beside_a_folder_run(tmp_path: Path) -> None:
    converted(SAMPLE, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "Modelfile", "model.gguf", "run.ipynb", "run.py",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, str(tmp_path / "out" / "run.py"), "Lily"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith("Lily ")
    assert "tokens per second" in done.stdout
    cells = json.loads((tmp_path / "out" / "run.ipynb").read_text())["cells"]
    (code,) = ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    assert code.strip() in (tmp_path / "out" / "run.py").read_text()
    assert (tmp_path / "out" / "Modelfile").read_text() == "FROM ./model.gguf\n"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "falcon_h1"}, "falcon_h1"),
        ({"hidden_act": "gelu"}, "hidden_act is gelu"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused_before_the_run(
    changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    folder = save_gguf_model("llama", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(OutputError, match=told):
        converted(folder, tmp_path / "x.gguf")
    assert not (tmp_path / "x.gguf").exists()


def test_a_tokenizer_with_more_tokens_than_the_network_is_refused(tmp_path: Path) -> None:
    folder = save_gguf_model("llama", tmp_path / "model")
    shutil.copy(SAMPLE / "tokenizer.json", folder)
    with pytest.raises(OutputError, match="512 tokens, and the embedding 96"):
        converted(folder, tmp_path / "x.gguf")


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "x.gguf")
    given = ["compress", str(SAMPLE), "--preset", "int8-channel", "--to", "gguf", "--out", out]
    assert main([*given, "--workspace", str(tmp_path / "w"), "--json"]) == 0
    assert gguf.GGUFReader(out).fields["general.architecture"].contents() == "llama"
    capsys.readouterr()
    assert main(["convert", str(SAMPLE), "--to", "gguf", "--out", out, "--json"]) == 4
    assert "already exists" in json.loads(capsys.readouterr().out)["error"]["what"]
