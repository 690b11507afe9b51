"""Peak memory of a section counts what is gone by its end, and nothing from before it."""

from __future__ import annotations

import errno
import os
import time

import numpy as np
import pytest
import torch

from benchvise.core.memory import PeakMemory, ran_out_of_memory, rss_bytes


def test_peak_of_a_section() -> None:
    big = np.ones(200 << 20, np.uint8)
    del big
    before = rss_bytes()
    with PeakMemory() as peak:
        held = np.ones(64 << 20, np.uint8)
        time.sleep(0.1)
        del held
    assert before + (50 << 20) < peak.bytes < before + (120 << 20)


def caused(error: Exception) -> Exception:
    outer = ValueError("cannot load the model")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (MemoryError(), True),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            True,
        ),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("unable to mmap 8 bytes from file: Cannot allocate memory (12)"), True),
        (RuntimeError("std::bad_alloc"), True),
        (caused(MemoryError()), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), False),
        (ValueError("out of memory"), False),
    ],
)
def test_out_of_memory_in_all_its_forms(error: Exception, ran_out: bool) -> None:
    assert ran_out_of_memory(error) == ran_out
