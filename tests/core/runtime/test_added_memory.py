"""The memory a section adds is its own, whatever lay there before and is freed by its end."""

from __future__ import annotations

import time

import torch

from benchvise.core.runtime.added_memory import AddedMemory


def test_the_most_that_a_section_took() -> None:
    before = torch.ones(200 << 20, dtype=torch.uint8)
    with AddedMemory(torch.device("cpu")) as added:
        held = torch.ones(64 << 20, dtype=torch.uint8)
        time.sleep(0.1)
        del held
    assert before.numel()
    assert 60 << 20 < added.bytes < 100 << 20
    with AddedMemory(torch.device("cpu")) as nothing:
        pass
    assert nothing.bytes < 8 << 20
