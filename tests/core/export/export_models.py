"""Small networks with random weights, runs of them, and what an export must compute."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from benchvise.core.export.export import export
from benchvise.core.job.job import compress
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Export
from benchvise.core.protocol.results import Exported
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.weights.open import open_weights

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
TOKENS = torch.arange(24).view(2, 12) % 60
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 172,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 60,
}

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def save_model(folder: Path, kind: str, dtype: torch.dtype, **settings: Any) -> Path:
    """A network of the `transformers` family `kind` ("Llama", "GPT2", …), seeded, in `folder`."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**settings)
    names = (f"{kind}ForCausalLM", f"{kind}LMHeadModel")
    network = next(getattr(transformers, name) for name in names if hasattr(transformers, name))
    network(config).to(dtype).save_pretrained(folder)
    return folder


def integer_recipe(*rules: tuple[str, Integer]) -> Recipe:
    return Recipe(tuple(Rule((target,), Treatment(scheme)) for target, scheme in rules), name="test")


def make_run(checkpoint: Path, recipe: Recipe, workspace: Path) -> str:
    return compress(Compress(str(checkpoint), recipe, workspace=str(workspace)), NullProgress()).run


def export_run(run: str, out: Path, workspace: Path, target: str = "auto") -> Exported:
    return export(Export(run, target, str(out), str(workspace)), NullProgress())


def loaded_logits(folder: Path) -> torch.Tensor:
    """What `transformers` computes from an exported folder; fails when a tensor is missing or left over."""
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(TOKENS).logits
    return logits


def workbench_logits(checkpoint: Path, run: str, workspace: Path) -> torch.Tensor:
    """What the original network computes with the weights as the run left them, saved by the safetensors library."""
    weights = open_weights(f"run:{run}", str(workspace))
    folder = workspace / "reference"
    folder.mkdir()
    shutil.copy(checkpoint / "config.json", folder)
    state = {layer.tensor.name: weights.dense(layer).contiguous() for layer in weights.checkpoint.layers}
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return loaded_logits(folder)


def fingerprint(folder: Path) -> dict[str, tuple[int, str]]:
    """Time of change and hash of every file."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
