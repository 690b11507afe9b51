"""Peak memory of a section counts what is gone by its end, and nothing from before it."""

from __future__ import annotations

import time

import numpy as np

from benchvise.core.memory import PeakMemory, rss_bytes


def test_peak_of_a_section() -> None:
    big = np.ones(200 << 20, np.uint8)
    del big
    before = rss_bytes()
    with PeakMemory() as peak:
        held = np.ones(64 << 20, np.uint8)
        time.sleep(0.1)
        del held
    assert before + (50 << 20) < peak.bytes < before + (120 << 20)
