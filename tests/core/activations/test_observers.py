"""Observers against slow ones that keep all values."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchvise.core.activations.observers import AVERAGED_TOKENS, observer_of
from benchvise.core.activations.quantise import codes_of, quantised
from benchvise.core.activations.relative_entropy import clipped_divergence, least_divergence
from benchvise.core.methods.activations import Activations

HALF_RANGE = {"int8": 127.5, "fp8": 448.0}
OBSERVERS = ("minmax", "moving_average", "percentile", "mse", "entropy")


def static(observer: str, form: str = "int8", **settings: float) -> Activations:
    return Activations(form, "static", observer, **settings)  # type: ignore[arg-type]


def samples(kind: str, tokens: int = 600) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(tokens, 48, generator=generator)
    if kind == "heavy":
        x = x * torch.exp(torch.randn(tokens, 48, generator=generator))
    if kind == "outlier":
        x[tokens // 2, 5] = -60.0
    return x


def batches(x: torch.Tensor, sizes: tuple[int, ...]) -> Iterator[torch.Tensor]:
    start = index = 0
    while start < len(x):
        size = sizes[index % len(sizes)]
        yield x[start : start + size]
        start, index = start + size, index + 1


def observed(settings: Activations, x: torch.Tensor, sizes: tuple[int, ...] = (128,)) -> float:
    observer = observer_of(settings)
    for batch in batches(x, sizes):
        observer.see(batch)
    assert observer.tokens == len(x)
    scale = observer.scale()
    assert scale.dtype == torch.float32
    assert scale.shape == (1,)
    return float(scale)


def in_range(settings: Activations, scale: float) -> float:
    return scale * HALF_RANGE[settings.format]


@pytest.mark.parametrize("form", ["int8", "fp8"])
@pytest.mark.parametrize("observer", OBSERVERS)
def test_how_tokens_are_cut_into_batches_is_no_matter(observer: str, form: str) -> None:
    x = samples("heavy", 700)
    whole = observed(static(observer, form), x, (700,))
    assert observed(static(observer, form), x, (1, 300, 17)) == whole
    assert observed(static(observer, form), x, (256,)) == whole


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_extremes(form: str) -> None:
    settings = static("minmax", form)
    assert observed(settings, samples("outlier")) == np.float32(60.0) / np.float32(HALF_RANGE[form])


@pytest.mark.parametrize("tokens", [AVERAGED_TOKENS, 2 * AVERAGED_TOKENS, 600, 100])
def test_moving_average(tokens: int) -> None:
    settings, x = static("moving_average", momentum=0.7), samples("heavy", tokens)
    average = math.nan
    for part in x.split(AVERAGED_TOKENS):
        greatest = float(part.abs().max())
        average = greatest if math.isnan(average) else 0.7 * average + 0.3 * greatest
    assert in_range(settings, observed(settings, x)) == pytest.approx(average, rel=1e-6)


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0, 99.9, 99.99])
@pytest.mark.parametrize("kind", ["normal", "heavy", "outlier"])
def test_percentile(kind: str, percentile: float) -> None:
    settings, x = static("percentile", percentile=percentile), samples(kind)
    exact = np.quantile(x.abs().numpy().astype(np.float64), percentile / 100, method="inverted_cdf")
    found = in_range(settings, observed(settings, x))
    assert exact * (1 - 1e-6) <= found <= exact * (1 + 2**-11) * (1 + 1e-6)


def test_all_of_the_magnitudes_are_the_extremes() -> None:
    x = samples("heavy")
    assert observed(static("percentile", percentile=100.0), x) == observed(static("minmax"), x)


@pytest.mark.parametrize("form", ["int8", "fp8"])
@pytest.mark.parametrize("kind", ["normal", "heavy", "outlier"])
def test_least_squares(kind: str, form: str) -> None:
    settings, x = static("mse", form), samples(kind)
    magnitudes = x.abs()

    def error(scale: float) -> float:
        return float((quantised(settings, magnitudes, torch.tensor([scale])) - magnitudes).double().square().sum())

    greatest = float(magnitudes.max())
    least = min(error(greatest * 2 ** (-step / 16) / HALF_RANGE[form]) for step in range(129))
    assert error(observed(settings, x)) <= least * 1.01


def slow_divergence(histogram: list[float], kept: int, settings: Activations) -> float:
    """The published procedure with loops over bins."""
    reference = list(histogram[:kept])
    reference[-1] += sum(histogram[kept:])
    level_of = []
    for index in range(kept):
        if settings.format == "int8":
            level_of.append(float(index * 128 // kept))
        else:
            level_of.append(float(codes_of(settings, torch.tensor(index + 0.5), torch.tensor(kept / 448))))
    candidate = []
    for index in range(kept):
        members = [i for i in range(kept) if level_of[i] == level_of[index] and histogram[i] > 0]
        total = sum(histogram[i] for i in members)
        candidate.append(total / len(members) if histogram[index] > 0 else 0.0)
    if sum(candidate) == 0:
        return math.inf
    divergence = 0.0
    for p, q in zip(reference, candidate, strict=True):
        if p > 0 and q == 0:
            return math.inf
        if p > 0:
            divergence += p / sum(reference) * math.log((p / sum(reference)) / (q / sum(candidate)))
    return divergence


@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_divergence_as_published(form: str) -> None:
    generator = np.random.default_rng(3)
    histogram = generator.poisson(40 * np.exp(-np.arange(300) / 60)).astype(np.float64)
    settings = static("entropy", form)
    for kept in (128, 129, 200, 255, 256, 299, 300):
        expected = slow_divergence(histogram.tolist(), kept, settings)
        assert clipped_divergence(histogram, kept, settings) == pytest.approx(expected, rel=1e-9)
    divergences = [clipped_divergence(histogram, kept, settings) for kept in range(128, 301)]
    best = 128 + int(np.argmin(divergences))
    assert least_divergence(histogram, settings) == min(1.0, (best + 0.5) / 300)


@pytest.mark.parametrize("form", ["int8", "fp8"])
@pytest.mark.parametrize("kind", ["heavy", "outlier"])
def test_entropy_on_the_exact_histogram(kind: str, form: str) -> None:
    settings, x = static("entropy", form), samples(kind, 4000)
    magnitudes = x.abs().numpy().astype(np.float64)
    exact, _ = np.histogram(magnitudes, 2048, (0, magnitudes.max()))
    counts = exact.astype(np.float64)
    end = in_range(settings, observed(settings, x)) / magnitudes.max()
    chosen = clipped_divergence(counts, max(128, min(2048, int(end * 2048))), settings)
    least = min(clipped_divergence(counts, kept, settings) for kept in range(128, 2049))
    assert chosen <= least * 1.1 + 1e-4


@pytest.mark.parametrize("observer", OBSERVERS)
def test_inputs_of_all_zeros(observer: str) -> None:
    settings = static(observer)
    scale = observed(settings, torch.zeros(10, 4))
    assert scale > 0
    assert torch.equal(quantised(settings, torch.zeros(2, 4), torch.tensor([scale])), torch.zeros(2, 4))


@pytest.mark.parametrize("observer", OBSERVERS)
def test_constant_and_tiny_inputs(observer: str) -> None:
    for value in (1.0, 3e-5, 1e30, 2.0**-140):
        scale = observed(static(observer), torch.full((300, 3), value))
        assert math.isfinite(scale)
        assert scale > 0


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("observer", OBSERVERS)
def test_inputs_that_are_no_numbers(observer: str, bad: float) -> None:
    x = torch.ones(4, 3)
    x[2, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        observer_of(static(observer)).see(x)


def test_nothing_seen() -> None:
    observer = observer_of(static("mse"))
    observer.see(torch.empty(0, 8))
    assert observer.tokens == 0
    with pytest.raises(ValueError, match="no inputs"):
        observer.scale()


def test_dynamic_scales_are_not_observed() -> None:
    with pytest.raises(ValueError, match="while the layer runs"):
        observer_of(Activations())
