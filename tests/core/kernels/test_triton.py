"""Triton's kernels in its interpreter, in a process of its own: the interpreter is chosen once, for a whole process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchvise.core.kernels.availability import triton_available

CASES = Path(__file__).parent / "interpreted"
ROOT = Path(__file__).parents[3]


@pytest.mark.skipif(not triton_available(), reason="Triton is not installed")
@pytest.mark.parametrize("cases", sorted(path.name for path in CASES.glob("cases_*.py")))
def test_in_the_interpreter(cases: str) -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:randomly", str(CASES / cases)]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
    assert " passed" in result.stdout
