"""How long opening takes and how much memory it adds: a 70B checkpoint in shards, and a file of 100,000 tensors.

    python tests/benchmarks/open_checkpoint.py [--json] [--repeat 5]

Each opening runs in a fresh process, so that the memory is that of one opening. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from big_checkpoint import make_many_tensors, make_sparse_checkpoint

ROOT = Path(__file__).resolve().parents[2]

OPEN_ONCE = """
import json, re, sys, time
from pathlib import Path
from core.checkpoint.open import open_checkpoint
def peak_kb():  # not getrusage: that counts what the parent had before exec
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
before = peak_kb()
begin = time.perf_counter()
checkpoint = open_checkpoint(sys.argv[1])
seconds = time.perf_counter() - begin
added = peak_kb() - before
assert "torch" not in sys.modules
print(json.dumps({"seconds": seconds, "added_mb": added / 1024, "tensors": checkpoint.tensors,
                  "gigabytes": checkpoint.nbytes / 1e9}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--repeat", type=int, default=5, help="openings per checkpoint; the median is shown")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = {
            "70B in shards": make_sparse_checkpoint(Path(folder) / "large"),
            "100,000 tensors": make_many_tensors(Path(folder) / "many.safetensors"),
        }
        results = {name: measure(path, options.repeat) for name, path in checkpoints.items()}
    if options.json:
        print(json.dumps(results, indent=2))
        return
    print(f"{'checkpoint':16} {'tensors':>8} {'GB':>7} {'seconds':>8} {'slowest':>8} {'added MB':>9}")
    for name, result in results.items():
        tensors, gigabytes, seconds = result["tensors"], result["gigabytes"], result["seconds"]
        slowest, added = result["seconds_slowest"], result["added_mb"]
        print(f"{name:16} {tensors:8.0f} {gigabytes:7.1f} {seconds:8.3f} {slowest:8.3f} {added:9.1f}")


def measure(path: Path, repeat: int) -> dict[str, float]:
    """The medians over `repeat` openings, and the slowest."""
    runs = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", OPEN_ONCE, str(path)], cwd=ROOT, check=True, capture_output=True, text=True
            ).stdout
        )
        for _ in range(repeat)
    ]
    slowest = max(run["seconds"] for run in runs)
    return {key: statistics.median(run[key] for run in runs) for key in runs[0]} | {"seconds_slowest": slowest}


if __name__ == "__main__":
    main()
