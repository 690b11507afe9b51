"""Factoring moments ends, whatever they are."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.solvers.moments import factor


def test_moments_that_no_damping_helps_are_refused_after_a_few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []
    cholesky = torch.linalg.cholesky_ex

    def counted(matrix: torch.Tensor) -> object:
        attempts.append(float(matrix[0, 0]))
        if len(attempts) > 100:
            raise AssertionError("it does not end")
        return cholesky(matrix)

    monkeypatch.setattr(torch.linalg, "cholesky_ex", counted)
    moments = torch.full((4, 4), 1e20).fill_diagonal_(1.0)
    with pytest.raises(ValueError, match="not positive definite, even with a damping of"):
        factor(moments, torch.arange(4), 1, 0.0)
    assert attempts == sorted(set(attempts)), "each attempt has more damping than the one before"


def test_damping_is_raised_from_zero() -> None:
    found = factor(torch.ones(4, 4), torch.arange(4), 1, 0.0)
    assert 0 < found.damping < 1
