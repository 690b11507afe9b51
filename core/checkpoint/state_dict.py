"""The tensors within whatever nest of containers a person gave to torch.save."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

from benchvise.core.checkpoint.torch_pickle import TensorRef

WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "params_ema")
"""Keys under which training scripts keep the model's weights, most telling first."""

_DEEPEST = 32


def unwrap(root: object) -> tuple[object, list[str]]:
    """The innermost container of the model's weights, and the names of what was left out on the way."""
    left_out: list[str] = []
    while isinstance(root, dict) and not any(isinstance(value, TensorRef) for value in root.values()):
        wrapper = next((key for key in WRAPPERS if _has_tensors(root.get(key))), None)
        if wrapper is None:
            break
        left_out += [str(key) for key in root if key != wrapper]
        root = root[wrapper]
    return root, left_out


def flatten(root: object) -> tuple[list[tuple[str, TensorRef]], list[str]]:
    """Names (keys joined by dots) and tensors in the order of the containers; and the names of all other values."""
    tensors, others = [], []
    for name, value in _leaves("", root, set(), 0):
        if isinstance(value, TensorRef):
            tensors.append((name or "tensor", value))
        else:
            others.append(name)
    return tensors, others


def _has_tensors(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    return any(isinstance(leaf, TensorRef) for _, leaf in _leaves("", value, set(), 0))


def _leaves(name: str, value: object, seen: set[int], depth: int) -> Iterator[tuple[str, object]]:
    """What is no container; one that was seen before, or lies too deep, counts as a leaf, so that this ends."""
    children: list[tuple[object, object]]
    if isinstance(value, dict):
        children = list(value.items())
    elif type(value) in (list, tuple):
        children = list(enumerate(cast("Sequence[object]", value)))
    else:
        yield name, value
        return
    if depth == _DEEPEST or id(value) in seen:
        yield name, None
        return
    seen.add(id(value))
    for key, child in children:
        yield from _leaves(f"{name}.{key}" if name else str(key), child, seen, depth + 1)
