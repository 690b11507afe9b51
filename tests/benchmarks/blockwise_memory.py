"""Peak memory of a calibrated job: a network of three times as many blocks should take no more.

    python -m tests.benchmarks.blockwise_memory [--hidden 768] [--json]

Makes Llamas of random weights with 4 and with 12 equal blocks in a temporary folder, compresses each on the
shipped text in a process of its own, and prints that process's peak resident memory above what it had when torch and
transformers were loaded. The solver is the cheapest that looks at inputs beside the original's: error feedback in one
pass without a clip search.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

BLOCKS = (4, 12)
SAMPLE = Path(__file__).parents[2] / "resources" / "sample"

JOB = """
import json, sys
import transformers.models.llama.modeling_llama
from benchvise.core.job.job import compress
from benchvise.core.memory import PeakMemory, rss_bytes
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment

solver = ErrorFeedback(clip_search=False, passes=1)
recipe = Recipe((Rule(("linears",), Treatment(Integer(group_size=64), solver)),), calibration=Calibration("", 32, 128))
before = rss_bytes()
with PeakMemory() as peak:
    run = compress(Compress(sys.argv[1], recipe, workspace=sys.argv[2]), NullProgress())
print(json.dumps([peak.bytes - before, run.seconds]))
"""


def make(folder: Path, blocks: int, hidden: int) -> int:
    """Write the model; returns the bytes of one block in float32."""
    config = AutoConfig.for_model(
        "llama", vocab_size=512, hidden_size=hidden, intermediate_size=hidden * 8 // 3 // 64 * 64,
        num_hidden_layers=blocks, num_attention_heads=hidden // 64, max_position_embeddings=128,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SAMPLE / name, folder)
    return sum(4 * parameter.numel() for parameter in model.model.layers[0].parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=768, help="width of the hidden state, a multiple of 64")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    for blocks in BLOCKS:
        with tempfile.TemporaryDirectory() as name:
            block_bytes = make(Path(name) / "model", blocks, options.hidden)
            command = [sys.executable, "-c", JOB, str(Path(name) / "model"), str(Path(name) / "workspace")]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            peak, seconds = json.loads(done.stdout)
        found[blocks] = {"peak_bytes": peak, "seconds": seconds, "block_bytes": block_bytes}
    if options.json:
        print(json.dumps(found))
        return
    for blocks, row in found.items():
        print(
            f"{blocks:3} blocks of {row['block_bytes'] / 1e6:.0f} MB (float32): peak {row['peak_bytes'] / 1e6:.0f} MB "
            f"above the start, {row['seconds']:.0f} s"
        )


if __name__ == "__main__":
    main()
