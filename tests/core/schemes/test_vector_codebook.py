"""Vector code books against brute force, real packing, and scalar code books of equal bits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.vector_codebook import VectorCodebook
from benchvise.core.schemes.vector_codebook import VectorCodebookArithmetic
from benchvise.core.schemes.vector_grid import pack_planes, unpack_planes
from benchvise.core.schemes.vector_kmeans import encode_vectors, fit_books, kmeans_vectors, nearest_vectors
from tests.core.schemes.integer_oracle import unpacked
from tests.core.schemes.scheme_samples import DTYPES, layer_in_file, solve, weights

ROWS, COLUMNS = 13, 96
SCHEMES = [
    VectorCodebook(dimension=2, bits=5),
    VectorCodebook(dimension=4, bits=3, books=2),
    VectorCodebook(dimension=3, bits=4, books=3),
    VectorCodebook(dimension=8, bits=1, books=4),
    VectorCodebook(dimension=2, bits=10),
    VectorCodebook(dimension=4, bits=4, granularity="group", group_size=32),
    VectorCodebook(dimension=2, bits=3, books=2, granularity="group", group_size=48),
]


def from_storage(stored: dict[str, torch.Tensor], scheme: VectorCodebook, columns: int) -> np.ndarray:
    """s·Σⱼ cⱼ in float64 [rows, columns], read from the stored tensors alone."""
    vectors = columns // scheme.dimension
    packed, start = stored["weight_packed"].numpy(), 0
    numbers = np.zeros((len(packed), vectors), np.int64)
    for place, bits in enumerate(scheme.planes):
        width = -(-vectors * bits // 32)
        numbers |= unpacked(packed[:, start : start + width], bits, vectors) << (8 * place)
        start += width
    assert start == packed.shape[1]
    books, scale = stored["weight_codebook"].double().numpy(), stored["weight_scale"].double().numpy()
    decoded = np.zeros((len(packed), vectors, scheme.dimension))
    for vector in range(vectors):
        group = vector * books.shape[0] // vectors
        for book in range(scheme.books):
            index = numbers[:, vector] >> (book * scheme.bits) & ((1 << scheme.bits) - 1)
            decoded[:, vector] += books[group, book, index]
        decoded[:, vector] *= scale[:, group, None]
    return decoded.reshape(len(packed), columns)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.tag)
def test_stored_tensors_bytes_and_decoding(scheme: VectorCodebook, dtype: str, tmp_path: Path) -> None:
    values = weights(ROWS, COLUMNS, dtype)
    solved = solve(values, scheme, block_rows=5)
    layer = layer_in_file(tmp_path, "block.up.weight", values)
    declared = {one.name: (getattr(torch, one.dtype), one.shape) for one in scheme.storage(layer)}
    assert declared == {name: (one.dtype, tuple(one.shape)) for name, one in solved.stored.items()}
    assert scheme.bytes_after(layer) == sum(one.nbytes for one in solved.stored.values())
    expected = from_storage(solved.stored, scheme, COLUMNS)
    close = 2 * torch.finfo(DTYPES[dtype] if dtype != "float64" else torch.float32).eps
    assert np.abs(expected - solved.decoded.double().numpy()).max() <= close * max(1e-3, np.abs(expected).max())
    some = solved.stored | {"weight_packed": solved.stored["weight_packed"][4:9]}
    part = VectorCodebookArithmetic.decode(scheme, some, 4, 9, COLUMNS)
    assert torch.equal(part.to(values.dtype), solved.decoded[4:9])
    assert (solved.decoded - values).square().sum() < 0.8 * values.square().sum()


@pytest.mark.parametrize("importance", [False, True])
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.tag)
def test_vector_by_vector_is_the_same_as_at_once(scheme: VectorCodebook, importance: bool) -> None:
    values = weights(ROWS, COLUMNS, "bfloat16").float()
    weighing = torch.rand(COLUMNS, generator=torch.Generator().manual_seed(5)) if importance else None
    whole, parts = (VectorCodebookArithmetic.grid(scheme, ROWS, COLUMNS, torch.bfloat16) for _ in range(2))
    whole.fit(0, values, weighing)
    for start in range(0, COLUMNS, parts.span):
        one = None if weighing is None else weighing[start : start + parts.span]
        parts.fit(start, values[:, start : start + parts.span], one)
    step = scheme.dimension
    assert whole.step == step
    codes = whole.encode(0, values)
    turned = values.T.contiguous()
    starts = range(0, COLUMNS, step)
    single = torch.cat([parts.encode(at, turned[at : at + step].T) for at in starts], 1)
    assert (codes == single).float().mean() > 0.99, "but for products that round otherwise"
    decoded = whole.decode(0, codes)
    assert torch.equal(decoded, torch.cat([parts.decode(at, codes[:, i : i + 1]) for i, at in enumerate(starts)], 1))
    stored = whole.stored(codes)
    assert torch.equal(VectorCodebookArithmetic.decode(scheme, stored, 0, ROWS, COLUMNS).float(), decoded)


def test_one_book_takes_the_nearest_vector() -> None:
    generator = torch.Generator().manual_seed(0)
    vectors, book = torch.randn(300, 3, generator=generator), torch.randn(20, 3, generator=generator)
    for weighing in (None, torch.rand(300, 3, generator=generator)):
        found = nearest_vectors(vectors, book, weighing)
        told = 1.0 if weighing is None else weighing.double().numpy()[:, None]
        distance = (told * (vectors.double().numpy()[:, None] - book.double().numpy()) ** 2).sum(2)
        assert (distance[np.arange(300), found.numpy()] <= distance.min(1) + 1e-5).all()


def test_sums_of_books_are_near_the_best_of_all_sums() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors, books = torch.randn(200, 4, generator=generator), torch.randn(3, 8, 4, generator=generator)
    codes = encode_vectors(vectors, books).numpy()
    wide, tables = vectors.double().numpy(), books.double().numpy()
    sums = np.array([sum(tables[i][c] for i, c in enumerate(choice)) for choice in product(range(8), repeat=3)])
    best = ((wide[:, None] - sums) ** 2).sum(2).min(1)
    found = ((wide - sum(tables[i][codes[:, i]] for i in range(3))) ** 2).sum(1)
    assert (found >= best - 1e-9).all()
    assert found.sum() < 1.25 * best.sum()


def test_kmeans_beats_lloyd_from_random_starts() -> None:
    vectors = torch.randn(2000, 2, generator=torch.Generator().manual_seed(2))
    book = kmeans_vectors(vectors, 32)
    found = float((vectors - book[nearest_vectors(vectors, book)]).square().sum())
    tried = [lloyd(vectors.double().numpy(), 32, seed) for seed in range(3)]
    assert found < 1.03 * min(tried)


def lloyd(points: np.ndarray, count: int, seed: int) -> float:
    """The squared error of Lloyd's iteration from random points, in plain numpy."""
    centres = points[np.random.default_rng(seed).choice(len(points), count, replace=False)]
    for _ in range(60):
        nearest = ((points[:, None] - centres) ** 2).sum(2).argmin(1)
        centres = np.stack([points[nearest == c].mean(0) if (nearest == c).any() else centres[c] for c in range(count)])
    return float(((points[:, None] - centres) ** 2).sum(2).min(1).sum())


def correlated(rows: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    pairs = torch.randn(rows, columns // 2, generator=generator).repeat_interleave(2, 1)
    return pairs + 0.5 * torch.randn(rows, columns, generator=generator)


def test_vectors_beat_scalars_of_equal_bits_where_neighbours_are_similar() -> None:
    values = correlated(128, 128)
    error = {
        scheme.tag: float((solve(values, scheme).decoded - values).square().sum())
        for scheme in (
            Codebook(kind="kmeans", bits=3, granularity="tensor"),
            VectorCodebook(dimension=2, bits=6),
            VectorCodebook(dimension=4, bits=6, books=2),
        )
    }
    assert error["vq6 d2"] < 0.7 * error["kmeans3 tensor"]
    assert error["aq2×6 d4"] < 0.7 * error["kmeans3 tensor"]


@pytest.mark.parametrize("books", [1, 2])
def test_weighing_by_importance_lowers_the_weighted_error(books: int) -> None:
    values = torch.randn(96, 64, generator=torch.Generator().manual_seed(6))
    importance = torch.rand(64, generator=torch.Generator().manual_seed(7)) ** 6
    scheme, errors = VectorCodebook(dimension=2, bits=6 // books, books=books), []
    for told in (None, importance):
        grid = VectorCodebookArithmetic.grid(scheme, 96, 64, torch.float32)
        grid.fit(0, values, told)
        errors.append(float(((grid.nearest(0, values) - values).double().square() * importance).sum()))
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("books", [1, 2])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_few_distinct_vectors_are_exact(books: int, dtype: str) -> None:
    scheme = VectorCodebook(dimension=2, bits=4, books=books)
    choice = torch.randn(9, 2, generator=torch.Generator().manual_seed(8)).to(DTYPES[dtype])
    picked = choice[torch.randint(0, 9, (6, 8), generator=torch.Generator().manual_seed(9))].reshape(6, 16)
    cases: Sequence[torch.Tensor] = (picked, torch.zeros_like(picked), torch.full_like(picked, 0.3), picked[:1, :2])
    for values in cases:
        assert torch.equal(solve(values, scheme).decoded, values)


@pytest.mark.parametrize("told", [torch.zeros(8), torch.tensor([0.0, 1e30, 1e-30, 5, 0, 0, 1, 2])])
def test_odd_importance_and_rows_of_zeros_stay_finite(told: torch.Tensor) -> None:
    values = weights(40, 8, "float32")
    values[3] = 0
    grid = VectorCodebookArithmetic.grid(VectorCodebook(dimension=2, bits=3), 40, 8, torch.float32)
    grid.fit(0, values, told)
    assert grid.nearest(0, values).isfinite().all()


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.tag)
def test_tuning_reaches_scales_and_books(scheme: VectorCodebook) -> None:
    stored = solve(weights(ROWS, COLUMNS, "bfloat16"), scheme).stored
    tunable = VectorCodebookArithmetic.tunable(scheme, stored, COLUMNS)
    parameters = {name: one.requires_grad_() for name, one in tunable.parameters.items()}
    weight = tunable.weight(parameters)
    assert torch.equal(weight.bfloat16(), VectorCodebookArithmetic.decode(scheme, stored, 0, ROWS, COLUMNS))
    weight.square().sum().backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0 for one in parameters.values())


@pytest.mark.parametrize(("bits", "books"), [(1, 1), (7, 1), (8, 1), (9, 1), (16, 1), (8, 3), (5, 3), (16, 2), (8, 4)])
def test_packing_in_planes(bits: int, books: int) -> None:
    scheme = VectorCodebook(bits=bits, books=books)
    top = 1 << scheme.code_bits
    numbers = torch.randint(0, top, (3, 37), generator=torch.Generator().manual_seed(bits))
    numbers[0, :2] = torch.tensor([0, top - 1])
    packed = pack_planes(numbers, scheme)
    assert torch.equal(unpack_planes(packed, 37, scheme), numbers)
    assert packed.shape[1] == sum(-(-37 * plane // 32) for plane in scheme.planes)


def test_the_number_of_threads_changes_nothing() -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(books_and_codes())
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def books_and_codes() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for dimension, books, count in ((2, 1, 64), (4, 2, 32)):
        vectors, told = torch.randn(2, 5_001, dimension, generator=generator)
        fitted = fit_books(vectors, books, count, told.abs())
        found += [fitted, encode_vectors(vectors, fitted), encode_vectors(vectors[:7], fitted, told[:7].abs())]
    return found


def layer(rows: int, columns: int) -> Layer:
    entry = TensorEntry("block.up.weight", "bfloat16", (rows, columns), "model.safetensors", 0, rows * columns * 2)
    return Layer("block.up", entry, "mlp.up", "linear", 0)


@pytest.mark.parametrize(
    ("scheme", "expected"),
    [
        (VectorCodebook(), 4096 * 2048 + 4096 * 2 + 256 * 2 * 2),
        (VectorCodebook(dimension=8, books=2), 4096 * 512 * 2 + 4096 * 2 + 2 * 256 * 8 * 2),
        (VectorCodebook(dimension=4, bits=12), 4096 * 1024 * 12 // 8 + 4096 * 2 + 4096 * 4 * 2),
        (VectorCodebook(granularity="group"), 4096 * 2048 + 4096 * 4 * 2 + 4 * 256 * 2 * 2),
    ],
)
def test_bytes_by_hand(scheme: VectorCodebook, expected: int) -> None:
    assert scheme.bytes_after(layer(4096, 4096)) == expected


def test_tags() -> None:
    assert VectorCodebook().tag == "vq8 d2"
    assert VectorCodebook(dimension=8, books=2).tag == "aq2×8 d8"
    assert VectorCodebook(dimension=4, bits=6, granularity="group", group_size=256).tag == "vq6 d4 g256"


def test_what_does_not_divide_is_refused_or_fitted_and_said() -> None:
    with pytest.raises(RecipeError, match="Vectors of 8 weights do not divide the 172 inputs") as caught:
        VectorCodebook(dimension=8).fitted(layer(4, 172))
    assert caught.value.remedy == "Use dimension 2 or 4, or 'indivisible: divisor' to fall back."
    with pytest.raises(RecipeError) as caught:
        VectorCodebook(indivisible="divisor").fitted(layer(4, 173))
    assert caught.value.remedy == "Use another scheme for this layer."
    fitted, notes = VectorCodebook(dimension=8, indivisible="divisor").fitted(layer(4, 172))
    assert (fitted.dimension, len(notes)) == (4, 1)
    grouped = VectorCodebook(dimension=4, granularity="group", group_size=64)
    with pytest.raises(RecipeError, match="64 columns"):
        grouped.fitted(layer(4, 172))
    with pytest.raises(RecipeError, match="more than 32"):
        VectorCodebook(bits=12, books=3).fitted(layer(4, 64))


@pytest.mark.parametrize("columns", [172, 96, 64, 1000, 4])
def test_a_fitted_group_divides(columns: int) -> None:
    asked = VectorCodebook(dimension=4, granularity="group", group_size=40, indivisible="divisor")
    fitted, notes = asked.fitted(layer(4, columns))
    taken = fitted.group_columns(columns)
    assert columns % taken == 0
    assert taken % fitted.dimension == 0
    assert bool(notes) == (fitted != asked)
