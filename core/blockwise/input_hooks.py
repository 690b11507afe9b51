"""Where the inputs of layers can be observed while a block runs, and the order in which that happens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Inputs = tuple[tuple[str, ...], Tensor]
"""Names of layers, and the rows [tokens, columns] that all of them are multiplied with."""

Rows = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Sequence[Inputs]]
"""From a module and the arguments of one call: the inputs of its layers."""


@dataclass(frozen=True)
class InputHook:
    """A module inside a block at whose entrance the inputs of the layers `names` can be seen.

    path:   of the module inside the block ("" for the block itself).
    rows:   how they are found; None where the module multiplies its first argument with its weight.
    calls:  how often the module is called in one pass; 0 when that is not known.
    paired: whether each row in the compressed network has its counterpart in the original one (not so for experts, to
            which tokens are routed).
    """

    path: str
    names: tuple[str, ...]
    rows: Rows | None = None
    calls: int = 0
    paired: bool = True

    def inputs(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sequence[Inputs]:
        if self.rows is not None:
            return self.rows(module, args, kwargs)
        return [(self.names, input_rows(module, _leading(args, kwargs)))]


@dataclass(frozen=True)
class Observed:
    """Per hook what it saw, call by call; and what the block gave, None when it was stopped before."""

    inputs: tuple[tuple[Inputs, ...], ...]
    output: Tensor | None


def unobservable(module: nn.Module, columns: int) -> str:
    """Why the inputs of a module whose weight has so many columns cannot be seen; "" when they can."""
    if isinstance(module, nn.Embedding):
        return "an embedding is looked up, not multiplied with inputs"
    if isinstance(module, nn.Conv1d | nn.Conv2d):
        plain = module.groups == 1 and module.padding_mode == "zeros" and not isinstance(module.padding, str)
        return "" if plain else "each output of a grouped or wrapped convolution has inputs of its own"
    if type(module).__name__.lower().endswith("router"):
        return ""  # the routers of transformers are linear layers that choose from their outputs as well
    width = getattr(module, "in_features", None) or getattr(module, "nx", None)
    return "" if width == columns else f"{type(module).__name__} does not multiply its input with the weight"


def in_order(root: nn.Module, hooks: Sequence[InputHook], run: Callable[[], object]) -> tuple[InputHook, ...]:
    """The hooks in order of their first call in `run`, those that see the same tensors joined into one.

    Hooks whose modules were not called come last.
    """
    seen: dict[str, list[Tensor]] = {hook.path: [] for hook in hooks}
    order: dict[str, int] = {}

    def note(path: str, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        order.setdefault(path, len(order))
        seen[path].append(_leading(args, kwargs))

    with _hooked(root, {path: partial(note, path) for path in seen}):
        run()
    joined: dict[tuple[int, ...], InputHook] = {}
    for number, hook in enumerate(sorted(hooks, key=lambda hook: order.get(hook.path, len(order)))):
        # Those that find their rows themselves find different ones in the same tensor.
        own = hook.rows is not None or not seen[hook.path]
        inputs = (-1 - number,) if own else tuple(id(tensor) for tensor in seen[hook.path])
        known = joined.get(inputs)
        joined[inputs] = (
            replace(hook, calls=len(seen[hook.path]))
            if known is None
            else replace(known, names=known.names + hook.names)
        )
    return tuple(joined.values())


def observe(root: nn.Module, hooks: Sequence[InputHook], run: Callable[[], Tensor], *, to_end: bool) -> Observed:
    """Run a block once, which gives float32 [windows, tokens, width], and keep what the hooks see.

    Unless `to_end`, stop as soon as all of them have seen all.
    """
    found: list[list[Inputs]] = [[] for _ in hooks]
    left = [hook.calls for hook in hooks]
    stops = not to_end and all(left)

    def see(places: Sequence[int], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for place in places:
            found[place].extend(hooks[place].inputs(module, args, kwargs))
            left[place] -= 1
        if stops and max(left) == 0:
            raise _SeenAll

    places: dict[str, list[int]] = {}
    for place, hook in enumerate(hooks):
        places.setdefault(hook.path, []).append(place)
    output: Tensor | None = None
    with _hooked(root, {path: partial(see, where) for path, where in places.items()}):
        try:
            output = run()
        except _SeenAll:
            output = None
    return Observed(tuple(map(tuple, found)), output)


@contextmanager
def _hooked(
    root: nn.Module, hooks: Mapping[str, Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]]
) -> Iterator[None]:
    # Before all other hooks, so that inputs are seen as they are before anything rounds them.
    handles = [
        root.get_submodule(path).register_forward_pre_hook(hook, prepend=True, with_kwargs=True)
        for path, hook in hooks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _SeenAll(Exception):  # noqa: N818 - it is an outcome, not an error
    """The rest of the block need not run."""


def _leading(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    found: Tensor = args[0] if args else next(value for value in kwargs.values() if isinstance(value, Tensor))
    return found


def input_rows(module: nn.Module, x: Tensor) -> Tensor:
    """What the weight as a matrix [outputs, columns] is multiplied with: float32 [tokens, columns]."""
    x = x.detach().float()
    if isinstance(module, nn.Conv2d):
        return _patches(x, module.kernel_size, module.dilation, module.padding, module.stride)
    if isinstance(module, nn.Conv1d):
        flat = [(fill, int(value[0])) for fill, value in zip(
            (1, 1, 0, 1), (module.kernel_size, module.dilation, module.padding, module.stride), strict=True
        )]  # fmt: skip
        return _patches(x.unsqueeze(2), *flat)
    return x.reshape(-1, x.shape[-1])


def _patches(x: Tensor, size: Any, dilation: Any, padding: Any, stride: Any) -> Tensor:
    """The patches that a kernel covers, [positions, channels × size]."""
    found = torch.nn.functional.unfold(x, size, dilation, padding, stride)
    return found.transpose(1, 2).reshape(-1, found.shape[1])
