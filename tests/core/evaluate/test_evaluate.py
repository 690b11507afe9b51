"""A checkpoint judged from its folder gives what the judge's own program gives."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchvise.core.errors import Cancelled, CheckpointError, UserError
from benchvise.core.evaluate import evaluate as room
from benchvise.core.evaluate.evaluate import evaluate
from benchvise.core.evaluate.text import read_text
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Evaluate

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
WINDOWS, TOKENS = 12, 64


class Listener(NullProgress):
    def __init__(self) -> None:
        self.total = self.done = 0
        self.notes: list[str] = []

    def start(self, total: int, unit: str) -> None:
        assert unit == "tokens"
        self.total = total

    def advance(self, units: int) -> None:
        self.done += units

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample with noise on its weights."""
    folder = tmp_path_factory.mktemp("damaged") / "sample"
    shutil.copytree(SAMPLE, folder)
    state = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(1)
    noisy = {n: t + 0.05 * t.std() * torch.randn(t.shape, generator=generator) for n, t in state.items() if t.dim() > 1}
    save_file(state | noisy, folder / "model.safetensors")
    return folder


@torch.no_grad()
def judged(original: Path, candidate: Path) -> dict[str, float]:
    """The judge's program, written again."""
    ids = AutoTokenizer.from_pretrained(original)(read_text(""), return_tensors="pt")["input_ids"][0]
    step = len(ids) // WINDOWS
    x = torch.stack([ids[i * step : i * step + TOKENS] for i in range(WINDOWS)])

    def log_probs(folder: Path) -> torch.Tensor:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        return torch.cat([model(x[i : i + 8]).logits.float().log_softmax(-1) for i in range(0, len(x), 8)])

    ref, lp = log_probs(original), log_probs(candidate)
    kl = (ref.exp() * (ref - lp)).sum(-1).flatten()
    nll = -lp[:, :-1].gather(-1, x[:, 1:, None]).mean().item()
    top1 = (ref.argmax(-1) == lp.argmax(-1)).float().mean().item()
    return {"kl": kl.mean().item(), "kl99": kl.quantile(0.99).item(), "ppl": math.exp(nll), "top1": top1}


@pytest.mark.parametrize("kept_bytes", [1 << 30, 0])
def test_equals_the_judge(damaged: Path, monkeypatch: pytest.MonkeyPatch, kept_bytes: int) -> None:
    monkeypatch.setattr(room, "KEPT_LOGIT_BYTES", kept_bytes)
    expected = judged(SAMPLE, damaged)
    listener = Listener()
    found = evaluate(Evaluate(str(damaged), "", str(SAMPLE), WINDOWS, TOKENS), listener)
    assert found.kl_mean == pytest.approx(expected["kl"], rel=1e-4)
    assert found.kl_p99 == pytest.approx(expected["kl99"], rel=1e-3)
    assert found.perplexity == pytest.approx(expected["ppl"], rel=1e-5)
    assert found.top1_agreement == pytest.approx(expected["top1"], abs=1e-6)
    assert found.perplexity_against == pytest.approx(judged(SAMPLE, SAMPLE)["ppl"], rel=1e-5)
    assert found.tokens == WINDOWS * TOKENS
    assert listener.done == listener.total == 2 * WINDOWS * TOKENS
    assert found.weight_bytes == sum(t.nbytes for t in load_file(damaged / "model.safetensors").values())
    assert found.peak_rss_bytes > found.weight_bytes
    assert found.seconds > 0


def test_alone_there_is_no_divergence() -> None:
    listener = Listener()
    found = evaluate(Evaluate(str(SAMPLE), "", windows=3, window_tokens=64), listener)
    assert (found.kl_mean, found.kl_p99, found.top1_agreement, found.perplexity_against) == (None, None, None, None)
    assert 2 < found.perplexity < 8  # per token, on stories like those it was trained on
    assert listener.done == listener.total == 3 * 64


def test_fewer_windows_are_noted(tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text(read_text("")[:2000], encoding="utf-8")
    listener = Listener()
    found = evaluate(Evaluate(str(SAMPLE), str(text), windows=48, window_tokens=128), listener)
    assert found.tokens % 128 == 0
    assert any("windows of 128 tokens" in note for note in listener.notes)


@pytest.mark.parametrize("against", ["", str(SAMPLE)])
def test_model_that_diverged_is_told(tmp_path: Path, against: str) -> None:
    shutil.copytree(SAMPLE, tmp_path / "sample")
    file = tmp_path / "sample" / "model.safetensors"
    state = load_file(file)
    state["model.layers.2.mlp.down_proj.weight"][3, 5] = math.nan
    save_file(state, file)
    with pytest.raises(CheckpointError, match="diverged"):
        evaluate(Evaluate(str(tmp_path / "sample"), "", against, 2, 64), NullProgress())


def test_models_without_a_common_vocabulary_are_refused(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "sample")
    file = tmp_path / "sample" / "model.safetensors"
    state = load_file(file)
    state["model.embed_tokens.weight"] = state["model.embed_tokens.weight"][:500].clone()
    save_file(state, file)
    config = json.loads((tmp_path / "sample" / "config.json").read_text()) | {"vocab_size": 500}
    (tmp_path / "sample" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="500 tokens against 512"):
        evaluate(Evaluate(str(tmp_path / "sample"), "", str(SAMPLE), 2, 64), NullProgress())


class CancelAfter(NullProgress):
    def __init__(self, advances: int) -> None:
        self.left = advances

    def advance(self, units: int) -> None:
        self.left -= units > 0
        if self.left < 0:
            raise Cancelled


def test_can_be_cancelled() -> None:
    with pytest.raises(Cancelled):
        evaluate(Evaluate(str(SAMPLE), "", str(SAMPLE), 12, 64), CancelAfter(1))
