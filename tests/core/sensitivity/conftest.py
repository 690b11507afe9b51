"""Small models on one thread: several would wait for each other longer than they compute."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# The tiny models of the tests of running models serve here too.
sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
