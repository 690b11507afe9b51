"""Peak memory and time of compressing a large generated checkpoint with nearest int4.

    python -m tests.benchmarks.compress_memory [--gigabytes 6] [--preset int4-g128] [--json]

Makes a bfloat16 Llama-shaped checkpoint of random weights in a temporary folder, compresses it on the command line in a
process of its own, and prints that process's peak resident memory and the seconds of the job.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

HIDDEN, FEED_FORWARD, VOCABULARY = 4096, 11008, 32000

# Not getrusage, which counts what the parent had before exec; the whole command is in it, export included.
COMMAND = """
import re, sys
from pathlib import Path
from benchvise.app.cli.entry import main
code = main(sys.argv[1:])
sys.stderr.write(" " + re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(code)
"""


def block(depth: int) -> dict[str, torch.Tensor]:
    """One decoder block of 202 M weights, 405 MB."""
    shapes = {
        **{f"self_attn.{name}_proj": (HIDDEN, HIDDEN) for name in "qkvo"},
        **{f"mlp.{name}_proj": (FEED_FORWARD, HIDDEN) for name in ("gate", "up")},
        "mlp.down_proj": (HIDDEN, FEED_FORWARD),
    }
    generator = torch.Generator().manual_seed(depth)
    return {
        f"model.layers.{depth}.{name}.weight": (torch.randn(shape, generator=generator) * 0.02).bfloat16()
        for name, shape in shapes.items()
    }


def make(folder: Path, size_bytes: int) -> int:
    """Write shards of one block each until `size_bytes` are reached; returns the bytes written."""
    written = 0
    weight_map: dict[str, str] = {}
    depth = 0
    while written < size_bytes:
        tensors = block(depth)
        name = f"model-{depth + 1:05d}.safetensors"
        save_file(tensors, folder / name, {"format": "pt"})
        weight_map |= dict.fromkeys(tensors, name)
        written += sum(tensor.nbytes for tensor in tensors.values())
        depth += 1
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "dtype": "bfloat16"}
    config |= {"intermediate_size": FEED_FORWARD, "num_hidden_layers": depth, "num_attention_heads": 32}
    config |= {"vocab_size": VOCABULARY, "tie_word_embeddings": False}
    (folder / "config.json").write_text(json.dumps(config))
    index = {"metadata": {"total_size": written}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--preset", default="int4-g128")
    parser.add_argument("--folder", default=None, help="where the temporary files go")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        source, out = Path(temporary) / "model", Path(temporary) / "out"
        source.mkdir()
        size = make(source, int(arguments.gigabytes * 1e9))
        command = [sys.executable, "-c", COMMAND, "compress", str(source), "--preset", arguments.preset]
        command += ["--out", str(out), "--workspace", str(Path(temporary) / "workspace"), "--json"]
        started = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": os.getcwd()})  # noqa: PTH109
        seconds = time.monotonic() - started
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        result = json.loads(done.stdout)
    numbers = {
        "checkpoint_bytes": size,
        "bytes_after": result["bytes_after"],
        "peak_rss_bytes": int(done.stderr.split()[-1]) * 1024,
        "job_seconds": result["seconds"],
        "command_seconds": seconds,
        "gigabytes_per_second": size / result["seconds"] / 1e9,
    }
    if arguments.json:
        print(json.dumps(numbers))
    else:
        for name, value in numbers.items():
            print(f"{name:22} {value:,.2f}")


if __name__ == "__main__":
    main()
