"""What a scheme can do with numbers: find its grid, project rows on it, and decode what it stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor

from benchvise.core.kernels.quantise import Packed
from benchvise.core.methods.scheme import Scheme
from benchvise.core.progress import NULL_PROGRESS, Progress
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.factors import FactorPair
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.learning import Learnable
from benchvise.core.schemes.matrix import Matrix, SolvedRows
from benchvise.core.schemes.training import Trainable, of_learnable

S = TypeVar("S", bound=Scheme)


@dataclass(frozen=True)
class Shared:
    """What one global fit says to one layer: zero are all weights below `threshold` and, of those at it, `ties`.

    digest: names it in the layer's record. note: where this layer is an exception, why; "" else.
    """

    threshold: float
    ties: int
    note: str = ""

    @property
    def digest(self) -> str:
        return f"{self.threshold.hex()}/{self.ties}"


@dataclass(frozen=True)
class Tunable:
    """What may be tuned of a stored matrix while its codes stay: scales, zero points, code books.

    parameters: float32, by the name of the stored tensor they replace (after rounding to its dtype).
    weight:     from such parameters, float32 [rows, columns], differentiable in them; with the parameters as stored it
                is the decoded weight before its last rounding.
    """

    parameters: dict[str, Tensor]
    weight: Callable[[Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class KernelForm:
    """Codes of `bits` bits in groups of `group_size` columns; without zero points when symmetric."""

    bits: int
    group_size: int
    symmetric: bool


class SchemeArithmetic(ABC, Generic[S]):
    """The arithmetic of a scheme on one matrix, for one pass: `fit`, `project` block after block, then `tail`."""

    scheme: ClassVar[type[Scheme]]

    def __init__(
        self,
        settings: S,
        matrix: Matrix,
        *,
        clip: ClipSearch | None = None,
        shared: Shared | None = None,
        progress: Progress = NULL_PROGRESS,
    ) -> None:
        self.settings = settings
        self.matrix = matrix
        self.clip = clip
        self.shared = shared
        self.progress = progress

    def fit(self) -> None:
        """Read the matrix for what spans blocks (a scale of the whole tensor, a threshold). Default: nothing does."""

    @abstractmethod
    def project(self, start: int, block: Tensor) -> SolvedRows:
        """The nearest representable values of rows [n, columns] in the weight's dtype.

        start: the first row. Blocks come in order.
        """

    def tail(self) -> dict[str, Tensor]:
        """The stored tensors that are complete only after the last block.

        By name, [rows or cells, …] in the dtypes of `Scheme.storage`.
        """
        return {}

    @classmethod
    @abstractmethod
    def decode(cls, settings: S, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:
        """Rows start to stop of the represented weight, [stop − start, columns], in the dtype it is computed with.

        stored: the row tensors from `start` to `stop` only, the tail tensors whole.
        """

    @classmethod
    def grid(
        cls,
        settings: S,
        rows: int,
        columns: int,
        dtype: torch.dtype,  # noqa: ARG003 - subclasses look
        *,
        clip: ClipSearch | None = None,  # noqa: ARG003
    ) -> Grid:
        """An unfitted grid for a matrix [rows, columns] of weights in `dtype`, for solvers that choose codes.

        Raises TypeError for schemes without one.
        """
        raise TypeError(f"{settings.key} has no grid for a matrix [{rows}, {columns}]")

    @classmethod
    def kernel_refusal(cls, settings: S) -> str:
        """Why no kernel multiplies by the stored codes, as a phrase; "" when `kernel_form` describes them."""
        return f"{settings.tag}: no kernel reads this faster than a dense weight"

    @classmethod
    def kernel_form(cls, settings: S, columns: int) -> KernelForm:
        """What a kernel has to know of the codes of a weight with so many columns.

        Raises ValueError when `kernel_refusal` says why there are none.
        """
        raise ValueError(f"'{settings.tag}' has no codes that a kernel could read in {columns} columns")

    @classmethod
    def kernel_codes(cls, settings: S, stored: Mapping[str, Tensor], rows: int) -> Packed:
        """Codes int32 [rows, words] with scales and zero points [rows, groups] for every row.

        stored: the tensors of the scheme's storage. Raises ValueError when `kernel_refusal` says why there are none.
        """
        raise ValueError(
            f"'{settings.tag}' has no codes that a kernel could read in {rows} rows, beside {list(stored)}"
        )

    @classmethod
    def factors(cls, settings: S, stored: Mapping[str, Tensor], rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """The factors [rows, inner width] and [inner width, columns], of any floating dtype, of a `factored` scheme.

        stored: the tensors of the scheme's storage. Raises TypeError for schemes without factors.
        """
        raise TypeError(f"{settings.key} stores no factors of [{rows}, {columns}], but {list(stored)}")

    @classmethod
    def stored(cls, settings: S, factors: FactorPair, dtype: torch.dtype) -> dict[str, Tensor]:
        """The tensors of the scheme's storage for the factors of a weight in `dtype`.

        Raises TypeError for schemes without factors.
        """
        raise TypeError(f"{settings.key} stores no factors of rank {factors.left.shape[1]} in {dtype}")

    @classmethod
    def tunable(cls, settings: S, stored: Mapping[str, Tensor], columns: int) -> Tunable | None:  # noqa: ARG003
        """What tuning may change of a whole stored matrix [rows, columns]; None when there is nothing.

        stored: of the shapes and dtypes of `Scheme.storage`.
        """
        return None

    @classmethod
    def learnable(
        cls,
        settings: S,  # noqa: ARG003 - subclasses look
        stored: Mapping[str, Tensor],  # noqa: ARG003
        target: Tensor,  # noqa: ARG003
    ) -> Learnable | None:
        """Codes and scales of a whole stored matrix as things to learn; None for schemes without even grids.

        target: float32 [rows, columns], the values that the codes stand for.
        """
        return None

    @classmethod
    def trainable(cls, settings: S, stored: Mapping[str, Tensor], target: Tensor) -> Trainable | None:
        """All of a whole stored matrix as things to train end to end; None where only `tunable` serves.

        target: float32 [rows, columns], the values that the codes stand for.
        """
        found = cls.learnable(settings, stored, target)
        return None if found is None else of_learnable(found)

    @classmethod
    def levels(cls, settings: S, stored: Mapping[str, Tensor]) -> Tensor | None:  # noqa: ARG003 - subclasses look
        """float32 values that weights on the grid with the largest step can take, ascending; None without a grid.

        stored: at least the tail tensors.
        """
        return None

    @classmethod
    def share(cls, settings: S, matrices: Sequence[Matrix], progress: Progress = NULL_PROGRESS) -> list[Shared]:  # noqa: ARG003
        """What a global fit says to each matrix; starts `progress` in bytes read, which the matrices advance.

        Raises TypeError for schemes whose `shared` is false.
        """
        raise TypeError(f"{settings.key} has nothing to share between {len(matrices)} layers")
