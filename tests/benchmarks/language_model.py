"""A recipe carried out on a language model by the command line: wall and CPU seconds, memory, and the KL divergence.

    python tests/benchmarks/language_model.py MODEL --preset gptq-int4-g128 --text A.txt --evaluation B.txt --threads 2

With `--checkout` another working tree does the same, so that two versions can be compared in one minute.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[2]


def command(arguments: list[str], checkout: Path, threads: int) -> tuple[dict[str, Any], float, float]:
    """What a command answers, its seconds, and its seconds of CPU."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "benchvise.app", *arguments, "--json"],
        env=environment, cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), seconds, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--preset", default="gptq-int4-g128")
    chosen.add_argument("--recipe")
    parser.add_argument("--text", help="calibration text (.txt or .jsonl); without it the shipped one")
    parser.add_argument("--evaluation", help="text that nothing learned from; without it no KL is measured")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkout", type=Path, default=HERE, help="the working tree whose code runs")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        recipe = ["--recipe", arguments.recipe] if arguments.recipe else ["--preset", arguments.preset]
        text = ["--text", arguments.text] if arguments.text else []
        common = ["--workspace", f"{folder}/workspace"]
        run, seconds, cpu = command(
            ["compress", arguments.model, *recipe, *text, "--out", f"{folder}/out", *common],
            arguments.checkout, arguments.threads,
        )  # fmt: skip
        found = {
            "model": arguments.model, "recipe": recipe[1], "threads": arguments.threads,
            "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1), "job_seconds": round(run["seconds"], 1),
            "peak_mb": round(run["peak_rss_bytes"] / 1e6), "bits_per_weight": run["bits_per_weight"],
        }  # fmt: skip
        if arguments.evaluation:
            judged = ["--against", arguments.model, "--text", arguments.evaluation]
            measured, _, _ = command(
                ["evaluate", f"run:{run['run']}", *judged, *common],
                arguments.checkout, arguments.threads,
            )  # fmt: skip
            found["kl"] = measured["kl_mean"]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
