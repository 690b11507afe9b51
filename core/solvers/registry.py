"""The arithmetic of every solver, registered by explicit import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from core.methods.solver import Nearest, Solver
from core.schemes.arithmetic import SchemeArithmetic, Shared
from core.schemes.matrix import Matrix, SolvedRows
from core.solvers.nearest import nearest

Solve = Callable[[Matrix, Any, Any, Shared | None], tuple[Iterator[SolvedRows], SchemeArithmetic[Any]]]

SOLVE: dict[type[Solver], Solve] = {Nearest: nearest}
