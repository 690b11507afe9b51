"""Sums of forecasts with their ranges, whose errors are taken to go together."""

from __future__ import annotations

from collections.abc import Iterable

from benchvise.core.protocol.results import Estimate


def plus(one: Estimate, other: Estimate) -> Estimate:
    return Estimate(one.value + other.value, one.low + other.low, one.high + other.high)


def scaled(one: Estimate, factor: float) -> Estimate:
    """factor: not negative."""
    return Estimate(one.value * factor, one.low * factor, one.high * factor)


def total(estimates: Iterable[Estimate]) -> Estimate:
    found = Estimate(0.0, 0.0, 0.0)
    for each in estimates:
        found = plus(found, each)
    return found


def at_least(one: Estimate, doubt: float) -> Estimate:
    """The range widened to ± `doubt` (a fraction) where it is narrower; nothing below zero."""
    value = max(0.0, one.value)
    low, high = min(one.low, value * (1 - doubt)), max(one.high, value * (1 + doubt))
    return Estimate(value, max(0.0, low), high)
