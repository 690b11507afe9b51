"""Hadamard matrices and the rotations made of them."""

from __future__ import annotations

import pytest
import torch

from benchvise.core.transforms.hadamard import odd_part, small_hadamard
from benchvise.core.transforms.rotation import Rotation

WIDTHS = (1, 2, 3, 8, 12, 20, 28, 30, 36, 50, 64, 96, 172, 240)


@pytest.mark.parametrize("order", [1, 2, 4, 8, 12, 20, 24, 28, 36, 44, 48, 60, 68, 76, 84, 108, 140])
def test_small_hadamard_matrices_are_hadamard(order: int) -> None:
    part = odd_part(order)
    assert part is not None
    matrix = small_hadamard(part)
    assert set(matrix.unique().tolist()) <= {-1.0, 1.0}
    assert torch.equal(matrix @ matrix.T, part * torch.eye(part))
    assert torch.equal(matrix[:, 0], torch.ones(part))


@pytest.mark.parametrize("width", [2048, 2560, 3072, 3584, 4096, 5120, 8192, 14336, 11008, 13824, 18944, 29568])
def test_widths_of_real_models_have_a_known_part_or_say_so(width: int) -> None:
    part = odd_part(width)
    assert part is None or (width % part == 0 and (width // part) & (width // part - 1) == 0)
    assert (part is None) == (width in {11008, 29568})


@pytest.mark.parametrize("keeps_mean", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_rotation_is_orthogonal_and_spreads_every_channel(width: int, keeps_mean: bool) -> None:
    turn = Rotation(width, 3, keeps_mean=keeps_mean)
    dense = turn(torch.eye(width)).double()
    assert torch.allclose(dense @ dense.T, torch.eye(width, dtype=torch.float64), atol=2e-6)
    if keeps_mean:
        assert torch.allclose(turn(torch.ones(2, width)), torch.ones(2, width), atol=1e-5)
    else:
        assert dense.abs().max() <= (2 / width) ** 0.5 + 1e-6


def test_a_rotation_acts_on_every_run_of_its_width() -> None:
    turn = Rotation(12, 0)
    vectors = torch.randn(5, 36)
    dense = turn(torch.eye(12))
    expected = torch.cat([vectors[:, start : start + 12] @ dense for start in (0, 12, 24)], 1)
    assert torch.allclose(turn(vectors), expected, atol=1e-5)


def test_the_seed_decides() -> None:
    vectors = torch.randn(4, 64)
    for keeps_mean in (False, True):
        one, again, other = (Rotation(64, seed, keeps_mean=keeps_mean)(vectors) for seed in (1, 1, 2))
        assert torch.equal(one, again)
        assert not torch.allclose(one, other)
