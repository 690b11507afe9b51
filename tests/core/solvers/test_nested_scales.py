"""Error feedback on grids whose scales have scales above them: those of all columns are fitted before single spans."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.gguf import Gguf
from benchvise.core.methods.microscaling import NvFloat4
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.error_feedback import error_feedback
from benchvise.core.solvers.nearest import nearest_matrix
from benchvise.core.solvers.solution import InputStatistics


@pytest.mark.parametrize("scheme", [NvFloat4(), Gguf(), Gguf(type="q2_k"), Gguf(type="iq2_xs")], ids=lambda s: s.tag)
def test_it_errs_far_less_at_the_output_than_nearest(scheme: Scheme) -> None:
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(24, 512, generator=generator) * 0.01
    inputs = torch.randn(2000, 96, generator=generator) @ torch.randn(96, 512, generator=generator)
    inputs += 2 * torch.randn(2000, 512, generator=generator)
    statistics = InputStatistics(inputs.T @ inputs / 2000, 2000)

    def cost(decoded: torch.Tensor) -> float:
        return float(((decoded - weight) @ inputs.T).square().mean())

    solution = error_feedback(weight, scheme, ErrorFeedback(), statistics, NULL_CONTEXT)
    solver = Nearest(clip_search=True, importance=True)
    plain = nearest_matrix(weight, scheme, solver, statistics, NULL_CONTEXT)
    assert cost(solution.decoded) < 0.7 * cost(plain.decoded)
    decoded = arithmetic_of(scheme).decode(scheme, solution.stored, 0, 24, 512)
    assert torch.equal(decoded, solution.decoded)
