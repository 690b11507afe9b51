"""The weights within whatever nest of containers and objects a person gave to torch.save."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchvise.core.checkpoint.pickled.stand_ins import ArrayRef, Inert, TensorRef
from benchvise.core.checkpoint.training_state import average_twins, is_training_state, split_training_state

WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "params_ema")
"""Keys under which training scripts keep the model's weights, most telling first."""

Leaf = TensorRef | ArrayRef

_DEEPEST = 96
_MAX_LEAVES = 2_000_000


@dataclass
class SelectedWeights:
    """The weights by name in the order of the containers, and the names of all else."""

    tensors: list[tuple[str, Leaf]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def select_weights(root: object) -> SelectedWeights:
    """The weights within `root`. Optimizers, schedules and averaged twins of the network are left out.

    left_out: keys beside the weights; others: names of values among the weights that are no tensors.
    """
    left_out: list[str] = []
    while True:
        children = _children(root)
        direct = [child for _, child in children if isinstance(child, Leaf)]
        if not isinstance(root, dict) or (direct and not _beside(root, direct)):
            break
        inside = {key: {} if isinstance(child, Leaf) else dict(_tensors(child)) for key, child in children}
        kept = _without_training_state(children, inside)
        if not kept:
            break
        wrapper = _wrapper(root, kept, inside)
        if wrapper is None:
            break
        left_out += [key for key, _ in children if key != wrapper]
        root = dict(children)[wrapper]
    return _flat(root, left_out)


def _beside(root: dict[object, object], direct: list[Leaf]) -> bool:
    """Whether tensors directly in `root` stand beside the weights: there is a known key, and they are no matrices."""
    return any(_children(root.get(key)) for key in WRAPPERS) and all(len(_shape(leaf)) < 2 for leaf in direct)


def _is_module(leaf: object) -> bool:
    """Whether it is a module without any weights."""
    return isinstance(leaf, Inert) and isinstance(leaf.state, dict) and "_modules" in leaf.state


def _without_training_state(children: list[tuple[str, object]], inside: dict[str, dict[str, Leaf]]) -> list[str]:
    """The keys of the children that hold weights."""
    kept = [
        key
        for key, child in children
        if inside[key] and not is_training_state(key, inside[key], child if isinstance(child, dict) else ())
    ]
    twins = average_twins({key: [_shape(leaf) for leaf in inside[key].values()] for key in kept})
    return [key for key in kept if key not in twins]


def _wrapper(root: object, kept: list[str], inside: dict[str, dict[str, Leaf]]) -> str | None:
    """The key under which the network lies, None where `root` is itself the network, or holds several."""
    known = next((key for key in WRAPPERS if key in kept), None)
    if len(kept) == 1:
        return kept[0] if known or len(_children(root)) > 1 else None
    networks = [key for key in kept if any(len(_shape(leaf)) > 1 for leaf in inside[key].values())]
    return known if known and networks in ([known], []) else None


def _flat(root: object, left_out: list[str]) -> SelectedWeights:
    found = SelectedWeights(left_out=left_out)
    dropped = set()
    children = _children(root)
    if len(children) > 1 and isinstance(root, dict):
        inside = {key: dict(_tensors(child)) for key, child in children if not isinstance(child, Leaf)}
        kept = _without_training_state([(key, child) for key, child in children if key in inside], inside)
        dropped = {key for key in inside if inside[key] and key not in kept}
        found.left_out += [key for key, _ in children if key in dropped]
    for key, child in children:
        if key in dropped:
            continue
        for name, leaf in _leaves(key, child, set(), 0):
            if isinstance(leaf, Leaf):
                found.tensors.append((name, leaf))
            elif not _is_module(leaf):
                found.others.append(name)
    if isinstance(root, Leaf):
        found.tensors.append(("tensor", root))
    weights, rest = split_training_state({name: _shape(leaf) for name, leaf in found.tensors})
    if rest:
        found.left_out += rest
        kept_names = set(weights)
        found.tensors = [(name, leaf) for name, leaf in found.tensors if name in kept_names]
    return found


def _shape(leaf: Leaf) -> tuple[int, ...]:
    return tuple(size for size in leaf.shape if isinstance(size, int))


def _tensors(value: object) -> Iterator[tuple[str, Leaf]]:
    for name, leaf in _leaves("", value, set(), 0):
        if isinstance(leaf, Leaf):
            yield name, leaf


def _leaves(name: str, value: object, seen: set[int], depth: int) -> Iterator[tuple[str, object]]:
    """What is no container; one that was seen before, or lies too deep, counts as a leaf, so that this ends."""
    children = _children(value)
    if not children:
        yield name, value
        return
    if depth == _DEEPEST or id(value) in seen or len(seen) > _MAX_LEAVES:
        yield name, None
        return
    seen.add(id(value))
    for key, child in children:
        yield from _leaves(f"{name}.{key}" if name else key, child, seen, depth + 1)


def _children(value: object) -> list[tuple[str, object]]:
    """What a container, or an object that was not made, holds, by name."""
    if isinstance(value, dict):
        return [(str(key), child) for key, child in value.items()]
    if isinstance(value, list) or type(value) is tuple:
        return [(str(index), child) for index, child in enumerate(value)]
    if isinstance(value, Inert):
        return _attributes(value)
    return []


def _attributes(value: Inert) -> list[tuple[str, object]]:
    states = value.state if isinstance(value.state, tuple) else (value.state,)
    attributes = {str(key): child for state in states if isinstance(state, dict) for key, child in state.items()}
    if isinstance(attributes.get("_modules"), dict | Inert):
        parts = ("_parameters", "_buffers", "_modules")
        return [pair for part in parts for pair in _children(attributes.get(part)) if pair[1] is not None]
    held = [(str(key), child) for key, child in value.pairs.items()]
    held += [(str(index), child) for index, child in enumerate(value.items)]
    if held or attributes:
        return [*held, *attributes.items()]
    others = [state for state in states if state is not None and not isinstance(state, dict)]
    return [(str(index), child) for index, child in enumerate([*value.arguments, *others])]
