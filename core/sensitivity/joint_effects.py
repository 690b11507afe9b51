"""Which layers are treated at once to see what adding single KL increases gets wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from benchvise.core.allocate.hull import ladder
from benchvise.core.allocate.problem import ChoiceProblem
from benchvise.core.allocate.table import Table, known_kl_increase
from benchvise.core.sensitivity.tasks import Task
from benchvise.core.workspace.sensitivities import SensitivityFile

MIXED_AT = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85)
"""How far along the way from the cheapest allocation to the best one mixed ones are measured."""


def choices_to_measure(
    kl_increases: SensitivityFile, tasks: Sequence[Task], key: Callable[[Task], str]
) -> Iterator[dict[str, str]]:
    """By layer the key of its treatment: each treatment everywhere, and the best mixtures at several sizes.

    Choices with a KL increase that is unknown or infinite are left out.
    """
    layers = {task.layer.name: task.layer for task in tasks}
    treatments = tuple(dict.fromkeys(task.treatment for task in tasks))
    found = {(task.layer.name, task.treatment): task for task in tasks}
    rows = [[found.get((name, treatment)) for treatment in treatments] for name in layers]
    fits = tuple(tuple(None if task is None else task.fitted for task in row) for row in rows)
    nbytes = np.array(
        [[np.inf if task is None else float(task.fitted.bytes_after(task.layer)) for task in row] for row in rows]
    )
    kl_increase, _ = known_kl_increase(kl_increases, Table(tuple(layers.values()), treatments, fits, nbytes))
    forbidden = ~np.isfinite(kl_increase) | ~np.isfinite(nbytes)
    seen: set[tuple[str, ...]] = set()
    for choice in _choices(np.where(forbidden, np.inf, kl_increase), np.where(forbidden, np.inf, nbytes)):
        chosen = [rows[index][option] for index, option in enumerate(choice)]
        keys = {task.layer.name: key(task) for task in chosen if task is not None}
        if len(keys) == len(rows) and tuple(keys.values()) not in seen:
            seen.add(tuple(keys.values()))
            yield keys


def _choices(kl_increase: np.ndarray, nbytes: np.ndarray) -> Iterator[list[int]]:
    for option in range(kl_increase.shape[1]):
        if np.isfinite(kl_increase[:, option]).all():
            yield [option] * len(kl_increase)
    if np.isfinite(kl_increase).any(axis=1).all():
        steps = ladder(ChoiceProblem(kl_increase, nbytes))
        for share in MIXED_AT:
            budget = steps.cost[0] + share * (steps.cost[-1] - steps.cost[0])
            yield steps.after(int(np.searchsorted(steps.cost, budget, side="right")) - 1).tolist()
