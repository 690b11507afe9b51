"""Vector code books as solvers see them, and their codes in planes of bits."""

from __future__ import annotations

from itertools import pairwise
from math import gcd

import numpy as np
import torch
from torch import Tensor

from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.methods.grouping import words
from benchvise.core.methods.vector_codebook import VectorCodebook
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.integer_grid import scale_dtype
from benchvise.core.schemes.normal_float import last_sums
from benchvise.core.schemes.vector_kmeans import encode_vectors, fit_books

_SAMPLE_MOST = 1 << 17
_SAMPLE_SCORES = 1 << 28


class VectorGrid(Grid):
    """Books are kept as float32 [spans, books, vectors, dimension], the rows' scales as float32 [spans, rows].

    A span is what shares books: all columns, or a group of them. `encode` weighs errors by the importance of the last
    fit, since a vector that is nearest in all its columns together depends on it. Books are searched on the CPU.
    """

    def __init__(self, settings: VectorCodebook, rows: int, columns: int, dtype: torch.dtype) -> None:
        self.settings = settings
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.span, self.step = settings.group_columns(columns), settings.dimension
        spans = columns // self.span
        self.scale = torch.ones(spans, rows)
        self.books = torch.zeros(spans, settings.books, 1 << settings.bits, settings.dimension)
        self.importance: list[Tensor | None] = [None] * spans

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        if self.books.device != values.device:
            self.scale, self.books = self.scale.to(values.device), self.books.to(values.device)
        for offset in range(0, values.shape[1], self.span):
            weights = None if importance is None else importance[offset : offset + self.span].float()
            self._fit_span((start + offset) // self.span, values[:, offset : offset + self.span], weights)

    def encode(self, start: int, values: Tensor) -> Tensor:
        return torch.cat([self._encode_in_span(at, values[:, part]) for at, part in self._parts(start, values)], 1)

    def decode(self, start: int, codes: Tensor) -> Tensor:
        found = []
        for at, part in self._parts(start, codes, self.step):
            span = at // self.span
            indices = parted(codes[:, part], self.settings)
            found.append(sums_of(indices, self.books[span]) * self.scale[span, : len(codes), None])
        return torch.cat(found, 1).to(self.dtype).float()

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        dtype = scale_dtype(self.dtype)
        return {
            "weight_packed": pack_planes(codes, self.settings),
            "weight_scale": self.scale.T.to(dtype).contiguous(),
            "weight_codebook": self.books.to(dtype),
        }

    def _parts(self, start: int, matrix: Tensor, step: int = 1) -> list[tuple[int, slice]]:
        """(first column, slice of `matrix`) of each span that its columns, `step` to each of them, touch."""
        stop = start + matrix.shape[1] * step
        cuts = [start, *range((start // self.span + 1) * self.span, stop, self.span), stop]
        return [(low, slice((low - start) // step, (high - start) // step)) for low, high in pairwise(cuts)]

    def _encode_in_span(self, start: int, values: Tensor) -> Tensor:
        span = start // self.span
        rows, columns = values.shape
        vectors = (values / self.scale[span, :rows, None]).reshape(-1, self.step)
        weights, told = None, self.importance[span]
        if told is not None:
            first = start - span * self.span
            weights = told[first : first + columns].view(1, -1, self.step).expand(rows, -1, -1).reshape(-1, self.step)
        codes = encode_vectors(vectors, self.books[span], weights, self.progress)
        return joined(codes, self.settings).view(rows, -1)

    def _fit_span(self, span: int, values: Tensor, importance: Tensor | None) -> None:
        dtype, settings = scale_dtype(self.dtype), self.settings
        count = 1 << settings.bits
        weighs = importance is not None and bool((importance > 0).any())
        importance = _normal(importance) if importance is not None and weighs else None
        self.importance[span] = importance
        values = values.cpu()
        few = _few_vectors(values.reshape(-1, self.step), count)
        if few is not None:
            self.scale[span] = 1.0
            self.books[span] = 0.0
            self.books[span, 0] = few[-1]
            self.books[span, 0, : len(few)] = few.to(values.device)
            return
        scale = _root_mean_square(values, dtype)
        self.scale[span] = scale.to(self.scale.device)
        vectors, weights = _sample(values / scale[:, None], importance, self.step, count)
        books = fit_books(vectors, settings.books, count, weights, self.progress)
        self.books[span] = books.to(dtype).float().to(self.books.device)


def joined(codes: Tensor, settings: VectorCodebook) -> Tensor:
    """One number [n], uint8 or int64, for the indices int64 [n, books] of each vector, first book lowest."""
    number = codes[:, 0]
    for book in range(1, settings.books):
        number = number | codes[:, book] << (book * settings.bits)
    return number.to(torch.uint8) if settings.code_bits <= 8 else number


def parted(numbers: Tensor, settings: VectorCodebook) -> Tensor:
    """The indices int64 [..., books] that `joined` joined."""
    shifts = torch.arange(settings.books, device=numbers.device) * settings.bits
    return (numbers.long()[..., None] >> shifts) & ((1 << settings.bits) - 1)


def sums_of(indices: Tensor, books: Tensor) -> Tensor:
    """Σⱼ cⱼ [rows, columns] of int64 indices [rows, vectors, books] in float `books` [books, vectors, dimension]."""
    found = books[0][indices[..., 0]]
    for index in range(1, len(books)):
        found = found + books[index][indices[..., index]]
    return found.flatten(1)


def pack_planes(codes: Tensor, settings: VectorCodebook) -> Tensor:
    """int32 [rows, words] of the numbers [rows, vectors] that `joined` made."""
    planes = [(codes.long() >> (8 * place)) & ((1 << bits) - 1) for place, bits in enumerate(settings.planes)]
    return torch.cat(
        [pack_rows(plane.to(torch.uint8), bits) for plane, bits in zip(planes, settings.planes, strict=True)], 1
    )


def unpack_planes(packed: Tensor, vectors: int, settings: VectorCodebook) -> Tensor:
    """The numbers int64 [rows, vectors] that `pack_planes` packed."""
    numbers = packed.new_zeros((len(packed), vectors), dtype=torch.int64)
    start = 0
    for place, bits in enumerate(settings.planes):
        width = words(vectors, bits)
        numbers |= unpack_rows(packed[:, start : start + width].contiguous(), bits, vectors).long() << (8 * place)
        start += width
    return numbers


def _root_mean_square(values: Tensor, dtype: torch.dtype) -> Tensor:
    """The scale of each row as stored, float32 [rows]."""
    limits = torch.finfo(dtype)
    mean = (last_sums(values.double().square()) / values.shape[1]).sqrt_().float()
    return mean.clamp_(limits.tiny, limits.max).to(dtype).clamp_(min=limits.tiny).float()


def _normal(importance: Tensor) -> Tensor:
    """Importance [columns] with its largest at 1 and none below a millionth of that."""
    return (importance / importance.amax()).clamp_(min=1e-6)


def _few_vectors(vectors: Tensor, count: int) -> Tensor | None:
    """The distinct ones of `vectors` [n, d] when there are at most `count` of them."""
    sample = vectors[:: max(1, len(vectors) // _SAMPLE_MOST)]
    if len(np.unique(sample.numpy(), axis=0)) > count:
        return None
    distinct = np.unique(vectors.numpy(), axis=0)
    return torch.from_numpy(distinct) if len(distinct) <= count else None


def _sample(values: Tensor, importance: Tensor | None, step: int, count: int) -> tuple[Tensor, Tensor | None]:
    """Vectors [n, step] of a matrix evenly over rows and columns, and the importance of their columns.

    At least twice as many as there are vectors to find, where the matrix holds so many.
    """
    vectors = values.reshape(-1, step)
    most = max(2 * count, min(_SAMPLE_MOST, _SAMPLE_SCORES // count))
    stride, across = -(-len(vectors) // most), values.shape[1] // step
    while gcd(stride, across) > 1:
        stride += 1
    taken = torch.arange(0, len(vectors), stride) if len(vectors) // stride >= count else torch.arange(len(vectors))
    weights = None if importance is None else importance.cpu().view(across, step)[taken % across]
    return vectors[taken], weights
