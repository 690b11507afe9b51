"""The arithmetic of every solver, registered by explicit import."""

from __future__ import annotations

from core.methods.solver import Nearest, Solver
from core.solvers.nearest import Solve, nearest

SOLVE: dict[type[Solver], Solve] = {Nearest: nearest}
