"""Which layers are treated at once to see what adding single damages up gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from core.allocate.hull import ladder
from core.allocate.problem import Problem
from core.allocate.table import Table, known_damage
from core.sensitivity.tasks import Task
from core.workspace.damages import Damages

MIXED_AT = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)
"""How far along the way from the cheapest allocation to the best one mixed ones are measured."""


def choices_to_measure(damages: Damages, tasks: Sequence[Task], key: Callable[[Task], str]) -> Iterator[dict[str, str]]:
    """By layer the key of its treatment: each treatment everywhere, and the best mixtures at several sizes.

    Choices with a damage that is unknown or infinite are left out.
    """
    layers = {task.layer.name: task.layer for task in tasks}
    treatments = tuple(dict.fromkeys(task.treatment for task in tasks))
    found = {(task.layer.name, task.treatment): task for task in tasks}
    rows = [[found.get((name, treatment)) for treatment in treatments] for name in layers]
    fits = tuple(tuple(None if task is None else task.fitted for task in row) for row in rows)
    nbytes = np.array(
        [[np.inf if task is None else float(task.fitted.bytes_after(task.layer)) for task in row] for row in rows]
    )
    damage, _ = known_damage(damages, Table(tuple(layers.values()), treatments, fits, nbytes))
    forbidden = ~np.isfinite(damage) | ~np.isfinite(nbytes)
    seen: set[tuple[str, ...]] = set()
    for choice in _choices(np.where(forbidden, np.inf, damage), np.where(forbidden, np.inf, nbytes)):
        chosen = [rows[index][option] for index, option in enumerate(choice)]
        keys = {task.layer.name: key(task) for task in chosen if task is not None}
        if len(keys) == len(rows) and tuple(keys.values()) not in seen:
            seen.add(tuple(keys.values()))
            yield keys


def _choices(damage: np.ndarray, nbytes: np.ndarray) -> Iterator[list[int]]:
    for option in range(damage.shape[1]):
        if np.isfinite(damage[:, option]).all():
            yield [option] * len(damage)
    if np.isfinite(damage).any(axis=1).all():
        steps = ladder(Problem(damage, nbytes))
        for share in MIXED_AT:
            budget = steps.cost[0] + share * (steps.cost[-1] - steps.cost[0])
            yield steps.after(int(np.searchsorted(steps.cost, budget, side="right")) - 1).tolist()
