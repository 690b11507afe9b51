"""The same job alone and on a local Ray cluster of one and of two processors: seconds, and whether the bytes agree.

    python -m tests.benchmarks.cluster MODEL --preset hqq-int4-g128

Alone the job has one thread, as each worker has, so that ratios are of machines and not of threads.
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

import hashlib
import tempfile
import time
from pathlib import Path

from ray.cluster_utils import Cluster

from benchvise.core.job.job import compress
from benchvise.core.progress import NULL_PROGRESS
from benchvise.core.protocol.requests import Compress
from benchvise.core.recipe.presets import load_preset


def measured(model: str, preset: str, cluster: str) -> tuple[float, str]:
    """Seconds of the job, and one digest of all its records."""
    with tempfile.TemporaryDirectory() as workspace:
        started = time.perf_counter()
        compress(Compress(model, load_preset(preset), workspace, cluster=cluster), NULL_PROGRESS)
        seconds = time.perf_counter() - started
        found = hashlib.sha256()
        for path in sorted(Path(workspace).glob("layers/*/*.safetensors")):
            found.update(path.read_bytes())
        return seconds, found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--preset", default="hqq-int4-g128")
    arguments = parser.parse_args()
    alone, digest = measured(arguments.model, arguments.preset, "")
    print(f"alone, one thread: {alone:.1f} s")
    for processors in (1, 2):
        there = Cluster(initialize_head=True, head_node_args={"num_cpus": processors, "include_dashboard": False})
        try:
            seconds, found = measured(arguments.model, arguments.preset, there.address)
        finally:
            there.shutdown()
        same = "the same bytes" if found == digest else "OTHER BYTES"
        print(f"cluster of {processors}: {seconds:.1f} s, {alone / seconds:.2f} x, {same}")


if __name__ == "__main__":
    main()
