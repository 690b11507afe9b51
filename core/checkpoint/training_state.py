"""What training leaves beside the weights: moments of optimizers, schedules, and averaged twins of the network."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

Shape = tuple[int, ...]

MOMENTS = frozenset({
    "exp_avg", "exp_avg_sq", "exp_avg_diff", "exp_avg_slow", "exp_avg_insta", "exp_avg_res", "max_exp_avg_sq",
    "exp_avg_sq_row", "exp_avg_sq_col", "exp_inf", "momentum_buffer", "square_avg", "acc_delta", "grad_avg",
    "neg_grad_or_diff", "next_step_grad", "slow_buffer", "prev_grad", "master_param", "state1", "state2",
})  # fmt: skip
"""How optimizers name the tensors that they keep for each weight."""

_MINOR = MOMENTS | {
    "step",
    "sum",
    "eta",
    "mu",
    "ax",
    "prev",
    "step_size",
    "qmap1",
    "qmap2",
    "absmax1",
    "absmax2",
    "RMS",
}
_OPTIMIZER = re.compile(r"optim(?!al)|(^|_)opt(s|im|\d*)?(_|$)|(^|_)(lr_)?sched|rng_?state|grad_?scaler", re.IGNORECASE)
_AVERAGE = re.compile(r"(^|_)(ema|averaged?|avg|shadow|swa|polyak)(_|\d|$)|^ema|ema$", re.IGNORECASE)


def is_training_state(key: str, names: Iterable[str], keys: Iterable[object] = ()) -> bool:
    """Whether what lies under `key` belongs to the training.

    names: of its tensors, within it; keys: its own keys.
    """
    if key in MOMENTS or _OPTIMIZER.search(key) or {"param_groups", "state"} <= set(keys):
        return True
    leaves = {name.rpartition(".")[2] for name in names}
    return bool(leaves & MOMENTS) and leaves <= _MINOR


def average_twins(groups: Mapping[str, Iterable[Shape]]) -> list[str]:
    """The keys of groups of tensors that are averages of another group, by their keys and the shapes that they hold."""
    counted = {key: Counter(shape for shape in shapes if shape) for key, shapes in groups.items()}
    averaged = [key for key in counted if _AVERAGE.search(key) and counted[key]]
    return [
        key
        for key in averaged
        if any(counted[key] <= counted[other] for other in counted if other not in averaged and counted[other])
    ]


def split_training_state(tensors: Mapping[str, Shape]) -> tuple[list[str], list[str]]:
    """The names of a flat list of tensors that are weights, and the first parts of the names of all others."""
    groups: dict[str, list[str]] = {}
    for name in tensors:
        groups.setdefault(name.partition(".")[0], []).append(name)
    out = {name.rpartition(".")[2] for name in tensors} & MOMENTS and {
        key for key, names in groups.items() if _is_moment_group(key, names)
    }
    left = set(out or ()) | set(average_twins({key: [tensors[name] for name in groups[key]] for key in groups}))
    return [name for name in tensors if name.partition(".")[0] not in left], sorted(left)


def _is_moment_group(key: str, names: list[str]) -> bool:
    leaves = {name.rpartition(".")[2] for name in names}
    return bool(leaves & MOMENTS) and (leaves <= _MINOR or bool(_OPTIMIZER.search(key)))
