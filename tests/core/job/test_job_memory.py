"""Streaming: however large the checkpoint, the job takes little memory."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

CHECKPOINT_BYTES = 600_000_000
MAX_BYTES = 330_000_000
"""Three blocks of 16 MB that wait, are solved and are measured, each with its codes and its decoded values."""

JOB = """
import json, sys
from benchvise.core.job.job import compress
from benchvise.core.memory import PeakMemory, rss_bytes
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment

before = rss_bytes()
with PeakMemory() as peak:
    run = compress(
        Compress(sys.argv[1], Recipe((Rule(("all",), Treatment(Integer())),)), workspace=sys.argv[2]), NullProgress()
    )
print(json.dumps([before, peak.bytes, run.peak_rss_bytes, run.bytes_before]))
"""


def test_six_hundred_megabytes_stream_through(tmp_path: Path) -> None:
    """A sparse file: reading it is real, its zeros take no room on the disk. One layer is larger than the limit."""
    shapes = {"model.embed_tokens.weight": (44_000, 4096)}
    shapes |= {f"model.layers.{index}.mlp.up_proj.weight": (9_400, 4096) for index in range(4)}
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    assert end > CHECKPOINT_BYTES
    text = json.dumps(header).encode()
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    command = [sys.executable, "-c", JOB, str(tmp_path / "model.safetensors"), str(tmp_path / "workspace")]
    # One thread: beside other tests, torch's threads wait for each other ten times as long as they compute.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    before, peak, told, size = json.loads(done.stdout)
    assert size == end
    assert peak - before < MAX_BYTES
    assert abs(peak - told) < 50_000_000, "the run says how much memory it took"
