"""Forecast against measured decode latency, before and after each preset.

    python -m tests.benchmarks.latency_forecast [CHECKPOINT …] [--presets int8-channel int4-g128] [--threads N] [--json]

Without checkpoints: the sample, and a generated bfloat16 Llama of 200 M parameters (hidden 1536, 6 blocks). Each preset
is forecast in a fresh workspace, carried out, and measured interleaved with the original.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from benchvise.core.errors import RecipeError
from benchvise.core.job.job import compress
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, ForecastLatency, MeasureLatency
from benchvise.core.recipe.presets import load_preset
from benchvise.core.runtime.forecast import forecast_latency
from benchvise.core.runtime.latency import measure_latency

SAMPLE = Path(__file__).parents[2] / "resources" / "sample"


@dataclass(frozen=True)
class Row:
    """One preset on one checkpoint; milliseconds per token, and the forecast's error as a fraction of the measured."""

    checkpoint: str
    preset: str
    before_ms: float
    before_forecast_ms: float
    before_error: float
    after_ms: float
    after_forecast_ms: float
    after_error: float
    speed_up: float
    speed_up_forecast: float


def generate(folder: Path) -> Path:
    """A random bfloat16 Llama whose weights do not fit into a processor's cache."""
    config = LlamaConfig(
        hidden_size=1536,
        intermediate_size=4096,
        num_hidden_layers=6,
        num_attention_heads=12,
        num_key_value_heads=12,
        vocab_size=8192,
        max_position_embeddings=512,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


def row(path: Path, preset: str, workspace: Path, repetitions: int) -> Row:
    """Forecast, carry out, measure."""
    recipe, nothing = load_preset(preset), NullProgress()
    forecast = forecast_latency(ForecastLatency(str(path), recipe, str(workspace)), nothing)
    run = compress(Compress(str(path), recipe, str(workspace)), nothing)
    asked = MeasureLatency(f"run:{run.run}", str(path), 32, repetitions, 32, str(workspace))
    measured = measure_latency(asked, nothing)
    if measured.against is None or measured.speed_up is None:
        raise AssertionError("measured without an original")
    before, after = measured.against.median_ms, measured.timing.median_ms
    return Row(
        path.name,
        preset,
        before,
        forecast.before_ms.value,
        forecast.before_ms.value / before - 1,
        after,
        forecast.after_ms.value,
        forecast.after_ms.value / after - 1,
        measured.speed_up,
        forecast.before_ms.value / forecast.after_ms.value,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--presets", nargs="+", default=["int8-channel", "int4-g128"])
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as temporary:
        paths = asked.checkpoints or [SAMPLE, generate(Path(temporary) / "llama-200m")]
        for path in paths:
            for preset in asked.presets:
                workspace = Path(temporary) / "workspace" / path.name / preset
                try:
                    found = row(path, preset, workspace, asked.repetitions)
                except RecipeError as error:
                    print(f"{path.name}, {preset}: {error}")
                    continue
                print(json.dumps(vars(found)) if asked.json else _sentence(found), flush=True)


def _sentence(found: Row) -> str:
    return (
        f"{found.checkpoint}, {found.preset}: before ≈ {found.before_forecast_ms:.2f} ms, measured "
        f"{found.before_ms:.2f} ({found.before_error:+.0%}); after ≈ {found.after_forecast_ms:.2f} ms, measured "
        f"{found.after_ms:.2f} ({found.after_error:+.0%}); speed-up ≈ {found.speed_up_forecast:.2f}, measured "
        f"{found.speed_up:.2f}"
    )


if __name__ == "__main__":
    main()
