"""Faults put in on purpose: each must be found by the tests nearest to it.

`python -m tests.benchmarks.mutations [NAME …]` works in a copy of the project, one fault at a time, and says which no
test finds. Exit code 1 when there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 600


@dataclass(frozen=True)
class Mutation:
    """`before` occurs once in `file` (a path without suffix) and becomes `after`; `tests`: file names, or rooms."""

    name: str
    file: str
    before: str
    after: str
    tests: str


MUTATIONS = (
    Mutation("sign of the error that is fed back", "core/solvers/error_feedback",
             "self.targets[middle:stop].addmm_(feedback.T, self.errors[start:middle])",
             "self.targets[middle:stop].addmm_(feedback.T, self.errors[start:middle], alpha=-1)",
             "test_error_feedback.py"),
    Mutation("scale left out of decoding", "core/kernels/quantise",
             "        block.mul_(scale[start:stop].float().reshape(-1, 1))\n", "",
             "test_quantise.py"),
    Mutation("one word a row too few", "core/kernels/packing",
             "return -(-cols * bits // WORD_BITS)", "return cols * bits // WORD_BITS", "test_packing.py"),
    Mutation("cancel is not heard", "core/engine_process",
             "        if self._task.cancelled.is_set():\n            raise Cancelled\n", "",
             "test_engine_process.py"),
    Mutation("KL the other way round", "core/evaluate/divergence",
             "terms = original.exp() * (original - candidate)", "terms = candidate.exp() * (candidate - original)",
             "test_divergence.py"),
    Mutation("tuning is never undone", "core/tuning/loop",
             "return self.after < self.before", "return True", "test_polish.py"),
    Mutation("existing output is overwritten", "core/export/folder",
             "    elif os.path.lexists(out):", "    elif False:", "test_folder.py"),
    Mutation("experts' own share turned round", "core/blockwise/experts",
             "everyone.hessian.lerp(own.hessian, share)", "own.hessian.lerp(everyone.hessian, share)",
             "test_experts.py"),
    Mutation("damping is not raised", "core/solvers/moments",
             "        damping = max(damping, 1e-4) * 10\n", "", "test_moments.py"),
    Mutation("sign of the original's target", "core/solvers/moments",
             "pull = drift[:, order]", "pull = -drift[:, order]", "test_error_feedback.py"),
    Mutation("sign of the half-quadratic shift", "core/solvers/half_quadratic",
             "return scale, zero - shift", "return scale, zero + shift", "test_half_quadratic.py"),
    Mutation("Adam without bias correction", "core/solvers/adam",
             "mean / (1 - self._first**self._steps) / spread", "mean / spread",
             "test_learned_rounding.py test_learned_rounding.py"),
    Mutation("a plan of an old recipe is shown", "app/state/latest_plan",
             "        self._asking.drop()\n", "", "test_document.py"),
    Mutation("an answer that was dropped is taken", "app/engine/latest_request",
             "            if serial == self._serial:\n", "            if serial >= 0:\n",
             "test_latest_request.py test_budget_panel.py"),
    Mutation("a dead engine tells nobody", "app/engine/thread",
             "        self._deliver(list(failures))\n        if time", "        if time",
             "test_engine_thread.py"),
    Mutation("journal without fsync", "core/workspace/journal",
             "            os.fsync(file.fileno())\n", "", "test_journal.py test_disk.py test_workspace.py"),
    Mutation("files without fsync", "core/workspace/disk",
             "        os.fsync(file.fileno())\n", "        file.fileno()\n",
             "test_journal.py test_disk.py test_workspace.py"),
    Mutation("shapes and dtypes of records are not compared", "core/compress/record",
             "return found == declared and file_sha256(path) == sha256", "return file_sha256(path) == sha256",
             "test_record.py"),
    Mutation("content of records is not compared", "core/compress/record",
             "return found == declared and file_sha256(path) == sha256", "return found == declared",
             "test_record.py"),
    Mutation("two rooms imported at once", "core/engine",
             "    with _IMPORTS:\n        yield\n", "    yield\n", "test_engine.py"),
    Mutation("progress of a part does not end", "core/blockwise/sub_progress",
             "        self._tell(self._units)\n", "        self._tell(0)\n",
             "test_blockwise_run.py test_sub_progress.py"),
)  # fmt: skip


def found_by_tests(mutation: Mutation, copy: Path) -> str:
    """How the tests ended: "found", "survived" or "hangs"."""
    path = copy / f"{mutation.file}.py"
    original = path.read_text(encoding="utf-8")
    assert original.count(mutation.before) == 1, f"{mutation.file} has changed: {mutation.before!r}"
    path.write_text(original.replace(mutation.before, mutation.after), encoding="utf-8")
    tests = [str(each) for name in mutation.tests.split() for each in (copy / "tests").rglob(name)]
    command = [sys.executable, "-m", "pytest", "-x", "-q", *tests]
    try:
        done = subprocess.run(
            command, cwd=copy, env=_environment(copy), capture_output=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    finally:
        path.write_text(original, encoding="utf-8")
    return "found" if done.returncode == 1 else "survived" if done.returncode == 0 else f"exit code {done.returncode}"


def _environment(copy: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(copy), "QT_QPA_PLATFORM": "offscreen"}


def main(names: list[str]) -> int:
    """Try all mutations, or those whose name holds one of `names`."""
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(
            ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache")
        )
        for mutation in MUTATIONS:
            if names and not any(name in mutation.name for name in names):
                continue
            started = time.monotonic()
            ended = found_by_tests(mutation, copy)
            print(f"{ended:10} {time.monotonic() - started:6.0f} s  {mutation.name}", flush=True)
            failed += [mutation.name] * (ended != "found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
