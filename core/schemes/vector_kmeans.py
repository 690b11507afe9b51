"""Code books of vectors: k-means, sums of several books, and the search for the nearest.

Weights [n, d] of the squared errors of each coordinate go along everywhere; None: all one. Sums over clusters are made
one after the other in float64, and products run over one vector's coordinates only, so that no result depends on the
number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchvise.core.progress import NULL_PROGRESS, Progress

Floats = NDArray[np.float64]

_CHUNK_SCORES = 1 << 20
_ITERATIONS = 20
_ROUNDS = 8
_BEAM = 8
_CHUNK_VECTORS = 1 << 14
_IDLE = 0.35


def nearest_vectors(
    vectors: Tensor, book: Tensor, weights: Tensor | None = None, progress: Progress = NULL_PROGRESS
) -> Tensor:
    """int64 [n]: for each of `vectors` [n, d] the one in `book` [count, d] of least Σ w·(v − c)²."""
    return nearest_few(vectors, book, 1, weights, progress)[:, 0]


def nearest_few(
    vectors: Tensor, book: Tensor, few: int, weights: Tensor | None = None, progress: Progress = NULL_PROGRESS
) -> Tensor:
    """As `nearest_vectors`, the `few` nearest of each, int64 [n, few]."""
    found = torch.empty((len(vectors), few), dtype=torch.int64, device=vectors.device)
    if weights is None:
        left, right = vectors, -book
        offset = book.square().sum(1) * 0.5
    else:
        left, right = torch.cat([vectors * weights, weights], 1), torch.cat([-book, book.square() * 0.5], 1)
        offset = torch.zeros(len(book), device=book.device)
    step = max(1, _CHUNK_SCORES // len(book))
    for start in range(0, len(vectors), step):
        progress.check_cancelled()
        scores = torch.addmm(offset, left[start : start + step], right.T)
        if few == 1:
            torch.argmin(scores, 1, keepdim=True, out=found[start : start + step])
        else:
            found[start : start + step] = scores.topk(few, largest=False).indices
    return found


def fit_books(
    vectors: Tensor, books: int, count: int, weights: Tensor | None = None, progress: Progress = NULL_PROGRESS
) -> Tensor:
    """float32 [books, count, d] whose sums come near to `vectors` [n, d], n at least `count`.

    The first book is the k-means of the vectors, each further one of what is left; then codes are chosen given the
    books and each book given the codes and the others, in turn. The best of all rounds is returned.
    Source: Chen, Guan and Wang 2010 (residual start); Babenko and Lempitsky 2014 (beam and refinement).
    """
    found = torch.zeros(books, count, vectors.shape[1])
    rest = vectors
    for index in range(books):
        found[index] = kmeans_vectors(rest, count, weights, progress)
        rest = rest - found[index][nearest_vectors(rest, found[index], weights, progress)]
    if books == 1:
        return found
    best, least = found, float("inf")
    for _ in range(_ROUNDS):
        codes = encode_vectors(vectors, found, weights, progress)
        rest = _rest(vectors, found, codes)
        error = _total(rest, weights)
        if error < least:
            best, least = found.clone(), error
        for index in range(books):
            rest = rest + found[index][codes[:, index]]
            found[index] = _means(rest, codes[:, index], found[index], weights)
            rest = rest - found[index][codes[:, index]]
    return best


def encode_vectors(
    vectors: Tensor, books: Tensor, weights: Tensor | None = None, progress: Progress = NULL_PROGRESS
) -> Tensor:
    """int64 [n, books]: vectors of each book of `books` [books, count, d] whose sum is near to each of `vectors`.

    With several books the best few sums are kept from book to book (a beam search).
    """
    if len(books) == 1:
        return nearest_few(vectors, books[0], 1, weights, progress)
    parts = [
        _beam(vectors[start : start + _CHUNK_VECTORS], books, _rows(weights, start), progress)
        for start in range(0, len(vectors), _CHUNK_VECTORS)
    ]
    return torch.cat(parts)


def _rows(weights: Tensor | None, start: int) -> Tensor | None:
    return None if weights is None else weights[start : start + _CHUNK_VECTORS]


def _beam(vectors: Tensor, books: Tensor, weights: Tensor | None, progress: Progress) -> Tensor:
    n, d = vectors.shape
    rest = vectors[:, None]
    codes = torch.empty((n, 1, 0), dtype=torch.int64, device=vectors.device)
    for index, book in enumerate(books):
        width = 1 if index == len(books) - 1 else min(_BEAM, len(book))
        beams = rest.shape[1]
        wide = None if weights is None else weights[:, None].expand(n, beams, d)
        wide = None if wide is None else wide.reshape(-1, d)
        near = nearest_few(rest.reshape(-1, d), book, width, wide, progress)
        codes = torch.cat([codes.repeat_interleave(width, 1), near.view(n, beams * width, 1)], 2)
        rest = rest.repeat_interleave(width, 1) - book[codes[..., -1]]
        error = rest.square() if weights is None else rest.square() * weights[:, None]
        kept = error.sum(2).topk(width, largest=False).indices[..., None]
        rest = rest.gather(1, kept.expand(n, width, d))
        codes = codes.gather(1, kept.expand(n, width, index + 1))
    return codes[:, 0]


def _rest(vectors: Tensor, books: Tensor, codes: Tensor) -> Tensor:
    """What the chosen sums leave of the vectors [n, d]."""
    for index, book in enumerate(books):
        vectors = vectors - book[codes[:, index]]
    return vectors


def _total(error: Tensor, weights: Tensor | None) -> float:
    """Σ w·e², added up in one order."""
    squares = error.double().square() if weights is None else error.double().square() * weights
    return float(np.add.reduce(squares.numpy().ravel()))


def kmeans_vectors(
    vectors: Tensor, count: int, weights: Tensor | None = None, progress: Progress = NULL_PROGRESS
) -> Tensor:
    """float32 [count, d] of about least Σ w·(v − nearest)² for `vectors` [n, d], n at least `count`, a power of two.

    Lloyd's iteration from the means of a balanced tree of halves; vectors that serve hardly any error move next to
    those that serve the most (Patané and Russo 2001). The best of all iterations is returned.
    """
    book = _tree_means(vectors, count)
    best, least = book, float("inf")
    for iteration in range(_ITERATIONS):
        codes = nearest_vectors(vectors, book, weights, progress)
        error = vectors - book[codes]
        served = _sums((error.square() if weights is None else error.square() * weights), codes, count)
        total = float(np.add.reduce(served.ravel()))
        if total < least:
            best, least = book, total
        if iteration == _ITERATIONS - 1 or total == 0.0:
            break
        book = _means(vectors, codes, book, weights)
        if iteration < _ITERATIONS // 2:
            book = _moved(book, served, np.bincount(codes.numpy(), minlength=count))
    return best


def _tree_means(vectors: Tensor, count: int) -> Tensor:
    """Means of `count` cells of equally many vectors: each is halved along its widest coordinate."""
    size = len(vectors) // count
    cells = vectors[: size * count].reshape(1, size * count, -1)
    while len(cells) < count:
        wide = cells.double()
        middle = wide.cumsum(1)[:, -1:] / wide.shape[1]
        spread = (wide - middle).square_().cumsum(1)[:, -1]
        along = spread.argmax(1)[:, None, None].expand(-1, cells.shape[1], 1)
        order = cells.gather(2, along)[..., 0].sort(dim=1, stable=True).indices
        cells = cells.gather(1, order[..., None].expand_as(cells)).reshape(2 * len(cells), -1, cells.shape[2])
    return (cells.double().cumsum(1)[:, -1] / size).float()


def _means(vectors: Tensor, codes: Tensor, book: Tensor, weights: Tensor | None) -> Tensor:
    """The weighted mean of each cluster, coordinate by coordinate; where nothing weighs, what `book` has."""
    count = len(book)
    if weights is None:
        total = np.bincount(codes.numpy(), minlength=count).astype(np.float64)[:, None]
        moment = _sums(vectors, codes, count)
    else:
        total, moment = _sums(weights, codes, count), _sums(vectors * weights, codes, count)
    mean = np.divide(moment, total, out=book.double().numpy().copy(), where=total > 0)
    return torch.from_numpy(mean).float()


def _sums(values: Tensor, codes: Tensor, count: int) -> Floats:
    """Sums of `values` [n, d] over each code, float64 [count, d]."""
    index = codes.numpy()
    columns = [np.bincount(index, column, count) for column in values.double().numpy().T]
    return np.stack(columns, 1)


def _moved(book: Tensor, served: Floats, members: NDArray[np.int64]) -> Tensor:
    """Vectors that serve next to no error moved beside those that serve most, half a deviation to either side."""
    error = served.sum(1)
    order = np.argsort(error, kind="stable")
    idle = order[error[order] < _IDLE * error.mean()][: len(order) // 4]
    busy = order[::-1][: len(idle)]
    along = served[busy].argmax(1)
    aside = 0.5 * np.sqrt(served[busy, along] / np.maximum(members[busy], 1))
    moved = book.double().numpy().copy()
    moved[idle] = moved[busy]
    moved[idle, along] += aside
    moved[busy, along] -= aside
    return torch.from_numpy(moved).float()
