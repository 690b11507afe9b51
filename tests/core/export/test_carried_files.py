"""What has to travel with the weights lies in an export as it lay beside them, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

from benchvise.core.checkpoint.companions import find_companions
from benchvise.core.methods.integer import Integer
from tests.core.export.export_models import export_run, integer_recipe, make_run


def sentence_model(folder: Path) -> Path:
    """An encoder with a pooling and a dense module behind it, as sentence-transformers stores them."""
    sizes = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 64}
    transformers.BertModel(transformers.BertConfig(vocab_size=60, **sizes)).save_pretrained(folder)
    modules = [{"idx": 0, "name": "0", "path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}, {"path": "../outside"}]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    for name in ("1_Pooling", "2_Dense", "9_Other"):
        (folder / name).mkdir()
        (folder / name / "config.json").write_text(json.dumps({"module": name}))
    (folder / "2_Dense" / "code.py").write_text("raise SystemExit")
    save_file({"linear.weight": torch.ones(4, 32)}, folder / "2_Dense" / "model.safetensors")
    (folder.parent / "outside").mkdir()
    (folder.parent / "outside" / "config.json").write_text("{}")
    return folder


def test_sentence_transformers_keep_their_modules(tmp_path: Path) -> None:
    checkpoint = sentence_model(tmp_path / "model")
    run = make_run(checkpoint, integer_recipe(("linears", Integer(8, granularity="channel"))), tmp_path / "work")
    exported = export_run(run, tmp_path / "out", tmp_path / "work", "dense")
    carried = {"modules.json", "sentence_bert_config.json", "1_Pooling/config.json", "2_Dense/config.json"}
    carried |= {"2_Dense/model.safetensors"}
    assert carried <= set(exported.files)
    for name in carried:
        assert (tmp_path / "out" / name).read_bytes() == (checkpoint / name).read_bytes()
    assert not any("9_Other" in name or "outside" in name or name.endswith(".py") for name in exported.files)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["model_type"] == "bert"


def test_a_list_of_modules_that_is_none_is_left(tmp_path: Path) -> None:
    for text in ("", "{", "3", '[{"path": 1}, "x"]', '[{"path": ".."}, {"path": "a/../b"}]'):
        (tmp_path / "modules.json").write_text(text)
        assert find_companions(tmp_path) == (str(tmp_path / "modules.json"),)
