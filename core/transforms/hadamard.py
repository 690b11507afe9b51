"""Hadamard matrices of many orders: ±1, orthogonal rows, the first column all ones.

Sources: Sylvester 1867 (doubling); Paley 1933 (orders q + 1 and 2(q + 1) for primes q).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

_LARGEST_PART = 512


@lru_cache(maxsize=64)
def odd_part(width: int) -> int | None:
    """The smallest order m with a known Hadamard matrix and width = m·2ᵏ; None when there is none below 512."""
    if width < 1:
        return None
    part = width
    while part % 2 == 0:
        part //= 2
    while part <= min(width, _LARGEST_PART):
        if part in (1, 2) or _construction(part) is not None:
            return part
        part *= 2
    return None


@lru_cache(maxsize=16)
def small_hadamard(order: int) -> Tensor:
    """float32 [order, order] of ±1 for an order that `odd_part` gave.

    Raises ValueError for an order without a construction.
    """
    if order == 1:
        return torch.ones(1, 1)
    if order == 2:
        return torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    found = _construction(order)
    if found is None:
        raise ValueError(f"no Hadamard matrix of order {order} is known here")
    prime, doubled = found
    matrix = _paley_two(prime) if doubled else _paley_one(prime)
    return matrix * matrix[:, :1]


def _construction(order: int) -> tuple[int, bool] | None:
    """The prime q behind the order, and whether it is 2(q + 1) rather than q + 1."""
    if order % 4:
        return None
    if (order - 1) % 4 == 3 and _is_prime(order - 1):
        return order - 1, False
    half = order // 2 - 1
    return (half, True) if half % 4 == 1 and _is_prime(half) else None


def _paley_one(prime: int) -> Tensor:
    skew = torch.zeros(prime + 1, prime + 1)
    skew[0, 1:], skew[1:, 0] = 1, -1
    skew[1:, 1:] = _jacobsthal(prime)
    return skew + torch.eye(prime + 1)


def _paley_two(prime: int) -> Tensor:
    conference = torch.zeros(prime + 1, prime + 1)
    conference[0, 1:], conference[1:, 0] = 1, 1
    conference[1:, 1:] = _jacobsthal(prime)
    unit = torch.eye(prime + 1)
    return torch.kron(conference, torch.tensor([[1.0, 1.0], [1.0, -1.0]])) + torch.kron(
        unit, torch.tensor([[1.0, -1.0], [-1.0, -1.0]])
    )


def _jacobsthal(prime: int) -> Tensor:
    """[prime, prime]: whether the difference of the indices is a square modulo the prime."""
    character = torch.full((prime,), -1.0)
    character[(torch.arange(prime) ** 2) % prime] = 1.0
    character[0] = 0.0
    numbers = torch.arange(prime)
    return character[(numbers[:, None] - numbers[None, :]) % prime]


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))
