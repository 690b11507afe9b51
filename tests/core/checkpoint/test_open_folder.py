"""Folders: which files are chosen, what the index may say, what is carried along."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError
from tests.core.checkpoint.checkpoint_samples import two_tensors, write_safetensors

SAMPLE = Path(__file__).resolve().parents[3] / "resources" / "sample"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def in_shards(folder: Path, weight_map: dict[str, str] | None = None) -> Path:
    """'a' in the first shard and 'b' in the second, with an index unless `weight_map` is empty."""
    save_file({"a": torch.ones(2, 2)}, folder / SHARDS[0])
    save_file({"b": torch.full((3,), 2.0)}, folder / SHARDS[1])
    if weight_map is None:
        weight_map = {"a": SHARDS[0], "b": SHARDS[1]}
    if weight_map:
        write_index(folder, weight_map)
    return folder


def write_index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_the_sample_model() -> None:
    checkpoint = open_checkpoint(SAMPLE)
    assert checkpoint.format == "safetensors"
    assert checkpoint.architecture == "LlamaForCausalLM"
    assert checkpoint.layer("model.embed_tokens").tied == ("lm_head",)
    assert [Path(path).name for path in checkpoint.companions] == [
        "LICENSE", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    assert checkpoint.warnings == ()
    assert checkpoint.quantization is None
    single = open_checkpoint(str(SAMPLE / "model.safetensors"))
    assert single.layers == checkpoint.layers
    assert single.config == checkpoint.config


def test_opening_needs_no_torch() -> None:
    program = "import sys; from benchvise.core.checkpoint.open import open_checkpoint; open_checkpoint(sys.argv[1]); "
    program += "sys.exit(any(name in sys.modules for name in ('torch', 'safetensors', 'transformers')))"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", program, str(SAMPLE)], cwd=root).returncode == 0


@pytest.mark.parametrize("indexed", [True, False])
def test_shards(tmp_path: Path, indexed: bool) -> None:
    checkpoint = open_checkpoint(in_shards(tmp_path, None if indexed else {}))
    assert checkpoint.format == "safetensors (sharded)"
    assert [layer.name for layer in checkpoint.layers] == ["a", "b"]
    assert torch.equal(load_tensor(checkpoint.layer("b").tensor), torch.full((3,), 2.0))
    assert checkpoint.warnings == ()


def test_the_index_itself_or_one_shard_may_be_opened(tmp_path: Path) -> None:
    in_shards(tmp_path)
    whole = open_checkpoint(tmp_path / "model.safetensors.index.json")
    assert (whole.tensors, whole.path) == (2, str(tmp_path))
    part = open_checkpoint(tmp_path / SHARDS[0])
    assert (part.tensors, part.format) == (1, "safetensors")
    assert "one of several shards" in part.warnings[0]


@pytest.mark.parametrize("indexed", [True, False])
def test_a_missing_shard(tmp_path: Path, indexed: bool) -> None:
    in_shards(tmp_path, None if indexed else {})
    (tmp_path / SHARDS[1]).unlink()
    with pytest.raises(CheckpointError, match="is missing") as caught:
        open_checkpoint(tmp_path)
    assert "Download the missing files" in caught.value.remedy


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x.safetensors", "a/../../x.safetensors", "C:\\x.safetensors", "..\\x.safetensors", "C:x",
     "\\\\host\\share\\x.safetensors", "", ".", "a\0b"],
)  # fmt: skip
def test_an_index_that_points_outside(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    two_tensors(tmp_path / "x.safetensors")
    in_shards(folder, {"a": SHARDS[0], "b": name})
    with pytest.raises(CheckpointError, match="points outside its folder"):
        open_checkpoint(folder)


def test_links_as_the_download_cache_has_them(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots"
    blobs.mkdir()
    snapshot.mkdir()
    for path in in_shards(tmp_path).glob("model*"):
        path.rename(blobs / f"hash-of-{path.name}")
        (snapshot / path.name).symlink_to(Path("..") / "blobs" / f"hash-of-{path.name}")
    assert open_checkpoint(snapshot).tensors == 2
    (blobs / f"hash-of-{SHARDS[0]}").unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        open_checkpoint(snapshot)


INDEX_FAULTS = {
    "a tensor in another shard": ({"a": SHARDS[1], "b": SHARDS[0]}, f"'a' is not in {SHARDS[1]}"),
    "no tensor that is stored": ({"c": SHARDS[0], "d": SHARDS[1]}, "None of the 2 tensors of the index is stored"),
    "a map to numbers": ({"a": 1}, "no 'weight_map'"),
    "a list": (["a"], "no 'weight_map'"),
}


@pytest.mark.parametrize(("weight_map", "sentence"), INDEX_FAULTS.values(), ids=INDEX_FAULTS.keys())
def test_an_index_that_is_wrong(tmp_path: Path, weight_map: object, sentence: str) -> None:
    in_shards(tmp_path)
    write_index(tmp_path, weight_map)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path)
    assert sentence in caught.value.what
    assert caught.value.remedy


def test_an_index_that_is_no_json(tmp_path: Path) -> None:
    in_shards(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{")
    with pytest.raises(CheckpointError, match="index is not valid JSON"):
        open_checkpoint(tmp_path)


def test_a_tensor_that_the_index_forgot_is_shown(tmp_path: Path) -> None:
    in_shards(tmp_path)
    save_file({"b": torch.ones(3), "c": torch.ones(1)}, tmp_path / SHARDS[1])
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.tensors == 3
    assert "1 tensors are stored but not in the index, first 'c'" in checkpoint.warnings[0]


@pytest.mark.parametrize("indexed", [True, False])
def test_a_name_in_two_shards(tmp_path: Path, indexed: bool) -> None:
    in_shards(tmp_path, None if indexed else {})
    save_file({"a": torch.ones(3), "b": torch.ones(1)}, tmp_path / SHARDS[1])
    with pytest.raises(CheckpointError, match=f"'a' is stored in {SHARDS[0]} and in {SHARDS[1]}"):
        open_checkpoint(tmp_path)


def test_safetensors_come_before_torch_files(tmp_path: Path) -> None:
    two_tensors(tmp_path / "model.safetensors")
    torch.save({"w": torch.ones(2)}, tmp_path / "pytorch_model.bin")
    torch.save({"w": torch.ones(2)}, tmp_path / "optimizer.pt")
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.format == "safetensors"
    assert "not used: pytorch_model.bin. Used: model.safetensors" in checkpoint.warnings[0]


def test_loose_safetensors_are_one_checkpoint(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2)}, tmp_path / "encoder.safetensors")
    save_file({"b": torch.ones(2)}, tmp_path / "decoder.safetensors")
    (tmp_path / "._encoder.safetensors").write_bytes(b"what macOS leaves")
    assert open_checkpoint(tmp_path).tensors == 2


def test_torch_shards(tmp_path: Path) -> None:
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    torch.save({"a": torch.ones(2, 2)}, tmp_path / names[0])
    torch.save({"b": torch.ones(3)}, tmp_path / names[1])
    assert open_checkpoint(tmp_path).tensors == 2
    index = {"weight_map": {"a": names[0], "b": names[1]}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert open_checkpoint(tmp_path).format == "torch (sharded)"


def test_one_torch_file_of_any_name(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2, 2)}, tmp_path / "epoch7.ckpt")
    torch.save({"x": torch.ones(1)}, tmp_path / "optimizer.pt")
    assert open_checkpoint(tmp_path).format == "torch"
    torch.save({"a": torch.ones(2, 2)}, tmp_path / "epoch8.ckpt")
    with pytest.raises(CheckpointError, match=r"2 checkpoints: epoch7\.ckpt, epoch8\.ckpt") as caught:
        open_checkpoint(tmp_path)
    assert "Open the one" in caught.value.remedy


def test_places_without_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        open_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_checkpoint(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"\1\2\3\4")
    with pytest.raises(CheckpointError, match="of no kind that is known") as caught:
        open_checkpoint(tmp_path / "model.bin")
    assert "safetensors" in caught.value.remedy


@pytest.mark.parametrize("text", ["{", "[]", "\xff"])
def test_a_config_that_is_wrong(tmp_path: Path, text: str) -> None:
    two_tensors(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"config\.json is not") as caught:
        open_checkpoint(tmp_path)
    assert "remove it" in caught.value.remedy


def test_code_is_not_carried_along(tmp_path: Path) -> None:
    two_tensors(tmp_path / "model.safetensors")
    carried = ["LICENSE.txt", "chat_template.jinja", "merges.txt", "tokenizer.model", "vocab.json"]
    for name in [*carried, "tokenizer_code.py", "README.md", "modeling_own.py", "training_args.bin"]:
        (tmp_path / name).write_text("")
    assert [Path(path).name for path in open_checkpoint(tmp_path).companions] == carried
    assert open_checkpoint(tmp_path / "model.safetensors").companions == ()


def test_a_checkpoint_that_is_already_quantised(tmp_path: Path) -> None:
    tensors = {
        "model.layers.0.self_attn.q_proj.qweight": torch.zeros(8, 64, dtype=torch.int32),
        "model.layers.0.self_attn.q_proj.scales": torch.ones(1, 64, dtype=torch.float16),
        "model.layers.0.mlp.up_proj.weight": torch.ones(4, 4).to(torch.float8_e4m3fn),
    }
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"quant_method": "gptq", "bits": 4}}))
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.quantization == {"quant_method": "gptq", "bits": 4}
    quantised = checkpoint.layer("model.layers.0.self_attn.q_proj")
    assert (quantised.role, quantised.shape, quantised.tensor.scheme) == ("attention.q", (64, 64), "gptq int4 channel")
    assert not checkpoint.layer("model.layers.0.mlp.up_proj").compressible
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "quantize_config.json").write_text('{"bits": 3}')
    assert open_checkpoint(tmp_path).quantization == {"bits": 3}


def test_faults_in_a_shard_name_the_shard(tmp_path: Path) -> None:
    in_shards(tmp_path)
    write_safetensors(tmp_path / SHARDS[1], {}, length=2**63)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(tmp_path)
    assert caught.value.where == str(tmp_path / SHARDS[1])


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    for path in (tmp_path / ("x" * 300), tmp_path / "a\0b", "~nobody-of-that-name/x.safetensors"):
        with pytest.raises(CheckpointError, match=r"no such file|cannot be read"):
            open_checkpoint(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_pipes_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="no regular file"):
        open_checkpoint(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_checkpoint(tmp_path)


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").symlink_to(tmp_path / "gone")
    with pytest.raises(CheckpointError, match="cannot be read"):
        open_checkpoint(tmp_path)


def test_an_index_that_names_a_ghost(tmp_path: Path) -> None:
    in_shards(tmp_path)
    write_index(tmp_path, {"a": SHARDS[0], "b": SHARDS[1], "mtp.fc.weight": SHARDS[1]})
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.tensors == 2
    assert checkpoint.warnings == ("The index names 1 tensor that no file holds: mtp.fc.weight.",)


def cache_of_a_model(folder: Path, reference: str | None) -> Path:
    cache = folder / "models--x--y"
    for revision in ("abc", "def"):
        (cache / "snapshots" / revision).mkdir(parents=True)
    (cache / "blobs").mkdir()
    two_tensors(cache / "snapshots" / "def" / "model.safetensors")
    (cache / "refs").mkdir()
    if reference is not None:
        (cache / "refs" / "main").write_text(reference)
    return cache


def test_the_folder_of_a_model_in_the_download_cache(tmp_path: Path) -> None:
    assert open_checkpoint(cache_of_a_model(tmp_path, "def")).tensors == 2


@pytest.mark.parametrize("reference", ["../../..", "/etc", "a/../../b", "", "\0", "x" * 10_000, "gone"])
def test_a_reference_that_leads_elsewhere(tmp_path: Path, reference: str) -> None:
    two_tensors(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="refs/main"):
        open_checkpoint(cache_of_a_model(tmp_path, reference))


def test_revisions_without_a_reference(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds 2 revisions: abc, def"):
        open_checkpoint(cache_of_a_model(tmp_path, None))


def test_a_pipeline_lists_its_parts(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    for part in ("unet", "vae", "scheduler"):
        (tmp_path / part).mkdir()
        if part != "scheduler":
            two_tensors(tmp_path / part / "diffusion_pytorch_model.safetensors")
    with pytest.raises(
        CheckpointError, match=r"StableDiffusionPipeline\); its parts with weights: unet, vae"
    ) as caught:
        open_checkpoint(tmp_path)
    assert str(tmp_path / "unet") in caught.value.remedy


@pytest.mark.parametrize(
    "name", ["model", "model_best.pth.tar", "x.PTH", "x.pyth", "a94a8fe5ccb19ba61c4c0873d391e9879"]
)
def test_content_decides_what_a_file_is(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.ones(2, 2)}, tmp_path / name)
    assert open_checkpoint(tmp_path / name).kind == "torch"
    assert open_checkpoint(tmp_path).tensors == 1
    two_tensors(tmp_path / name)
    assert open_checkpoint(tmp_path / name).kind == "safetensors"


REFUSED = {
    "ggml": b"lmgg" + bytes(60),
    "CTranslate2": b"\x06\0\0\0\x0c\0WhisperSpec\0" + bytes(60),
    "web page": b"<!DOCTYPE html><html>",
    "JSON": b'{"a": 1}',
    "text file": b"just words",
    "gzip": b"\x1f\x8b\x08" + bytes(60),
    "TensorFlow Lite": bytes(4) + b"TFL3" + bytes(60),
    "program": b"\x7fELF" + bytes(60),
    "empty": b"",
}


@pytest.mark.parametrize(("what", "content"), REFUSED.items(), ids=REFUSED.keys())
def test_refusals_name_what_the_file_is(tmp_path: Path, what: str, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=what) as caught:
        open_checkpoint(tmp_path / "model.bin")
    assert caught.value.remedy


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "x")
    with pytest.raises(CheckpointError, match=r"leads nowhere, or to itself|cannot be read"):
        open_checkpoint(tmp_path / "x")
