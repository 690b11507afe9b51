"""Tokenizers in GGUF: llama.cpp reads text from the file as the `tokenizers` library does from tokenizer.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from benchvise.core.export.convert import convert
from benchvise.core.export.gguf.pre_tokenizers import _NAMES, pre_tokenizer
from benchvise.core.export.targets.gguf import GgufTarget
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Convert
from benchvise.core.protocol.results import Exported
from benchvise.core.runtime.llama_cpp import ask
from tests.core.export.export_models import SAMPLE, save_model

pytestmark = pytest.mark.skipif(not ask.is_installed(), reason="llama.cpp is not installed")

TEXTS = (
    "Hello world, it's 1234567 o'clock! They'LL come,  won't  they?",
    "def f(x):\n    return x/2 + 3.14  # naïve\r\n\r\n\tdone",
    "日本語とアラビア ١٢٣ العربية, Ünïcödé ẞ, 😀🎉 CamelCaseWord HTTPServer x1y2",
    "   leading, trailing   ",
    "<|special|> within <|special|>text",
)
CORPUS = (SAMPLE / "calibration.txt").read_text(encoding="utf-8")[:20000].split("\n") + list(TEXTS) * 20


def model_with(tokenizer: Tokenizer, folder: Path, **settings: Any) -> Path:
    """A small network whose embedding has a row for each token, with the tokenizer beside it."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    size = tokenizer.get_vocab_size() + 3  # embeddings are often padded
    save_model(folder, "Llama", torch.float32, **sizes, num_key_value_heads=2, vocab_size=size)
    tokenizer.save(str(folder / "tokenizer.json"))
    named = {"tokenizer_class": "PreTrainedTokenizerFast", **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    return folder


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports that llama.cpp does not compute by itself: these tests ask it."""
    monkeypatch.setattr(GgufTarget, "run", lambda *_: "")


def told(folder: Path, out: Path) -> tuple[Exported, list[list[int]]]:
    exported = convert(Convert(str(folder), "gguf", str(out)), NullProgress())
    return exported, [list(each) for each in ask.tell(out, TEXTS).tokens]


def byte_level(patterns: tuple[str, ...], *, ignore_merges: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    splits = [pre_tokenizers.Split(Regex(each), "isolated") for each in patterns]
    last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, last])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=["<|end|>", "<|special|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


@pytest.mark.parametrize(("patterns", "name"), _NAMES.items(), ids=_NAMES.values())
@pytest.mark.usefixtures("unchecked")
def test_words_are_cut_as_the_expressions_say(patterns: tuple[str, ...], name: str, tmp_path: Path) -> None:
    tokenizer = byte_level(patterns)
    exported, tokens = told(model_with(tokenizer, tmp_path / "m", eos_token="<|end|>"), tmp_path / "x.gguf")
    assert not exported.warnings
    ours = [tokenizer.encode(text).ids for text in TEXTS]
    plain = [place for place, text in enumerate(TEXTS) if "<|special|>" not in text]
    assert [tokens[place] for place in plain] == [ours[place] for place in plain]
    assert pre_tokenizer(json.loads(tokenizer.to_str())) == name


def test_an_unknown_way_to_cut_is_told(tmp_path: Path) -> None:
    folder = model_with(byte_level((r"\p{L}{1,2}",)), tmp_path / "m")
    exported, _ = told(folder, tmp_path / "x.gguf")
    assert [warning.kind for warning in exported.warnings] == ["tokenizer"]
    assert "in another way" in exported.verified


def test_sentence_pieces(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.Unigram([("<unk>", 0.0)], 0, True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    folder = model_with(tokenizer, tmp_path / "m", eos_token="</s>", bos_token="<s>", unk_token="<unk>")
    _, tokens = told(folder, tmp_path / "x.gguf")
    assert tokens[0] == tokenizer.encode(TEXTS[0]).ids


def test_an_encoder_with_word_pieces_gives_the_same_vectors(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.BertConfig(**sizes, vocab_size=tokenizer.get_vocab_size(), max_position_embeddings=64)
    network = transformers.BertModel(config).eval()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(torch.randn_like(value) * 0.1)
    folder = tmp_path / "m"
    network.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **names}))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    exported, tokens = told(folder, tmp_path / "x.gguf")
    assert [warning.kind for warning in exported.warnings] == ["left out"]  # the pooler
    assert tokens[0] == tokenizer.encode(TEXTS[0]).ids
    ids = tokenizer.encode(TEXTS[1]).ids
    (theirs,) = ask.embeddings(tmp_path / "x.gguf", [ids], 64)
    with torch.no_grad():
        ours = network(torch.tensor([ids])).last_hidden_state[0].mean(0)
    assert torch.allclose(torch.from_numpy(theirs.copy()), ours, atol=2e-3)
