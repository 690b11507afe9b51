"""One pass of calibration windows through a block, waiting at each hook while the layers behind it are solved.

What a block has computed when it comes to a layer stays as it is while that layer is solved. So its call is suspended
there, as a greenlet, and taken up again afterwards: no module runs twice, whatever the block looks like inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from greenlet import greenlet
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from benchvise.core.blockwise.input_hooks import InputHook, Inputs
from benchvise.core.blockwise.statistics import Stream


def can_wait(hooks: Sequence[InputHook]) -> bool:
    """Whether a pass can wait at each of the hooks: what a module is given in a second call depends on its first."""
    return all(hook.calls == 1 for hook in hooks)


class StagedPass:
    """`with StagedPass(stream, hooks) as staged`: slices of the windows are brought from hook to hook, and to the end.

    Slices may be other ones than before; those begin anew and come to the same. The stream's hidden states must stay as
    they are until their slice is at the end. Hooks are in the order of their calls. What runs out of memory is lost,
    and its slice begins anew.
    """

    def __init__(self, stream: Stream, hooks: Sequence[InputHook]) -> None:
        self._stream = stream
        self.hooks = hooks
        self._calls: dict[tuple[int, int], _Call] = {}
        self._active: _Call | None = None
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        places: dict[str, list[int]] = {}
        for number, hook in enumerate(self.hooks):
            places.setdefault(hook.path, []).append(number)
        root = self._stream.run.module
        # Before all other hooks, so that inputs are seen as they are before anything rounds them.
        self._handles = [
            root.get_submodule(path).register_forward_pre_hook(
                partial(self._see, where), prepend=True, with_kwargs=True
            )
            for path, where in places.items()
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._calls.clear()
        for handle in self._handles:
            handle.remove()

    def inputs(self, number: int, part: slice) -> tuple[Inputs, ...]:
        """What the slice's call gives to hook `number`, where it waits from now on."""
        call = self._taken(part)
        found = call.to(number)
        self._calls[part.start, part.stop] = call
        return found

    def output(self, part: slice) -> Tensor:
        """What the block makes of the slice, float32 [windows, tokens, width]."""
        return self._taken(part).to_end()

    def _taken(self, part: slice) -> _Call:
        call = self._calls.pop((part.start, part.stop), None)
        if call is not None:
            return call
        for start, stop in [key for key in self._calls if key[0] < part.stop and part.start < key[1]]:
            del self._calls[start, stop]
        return _Call(self, partial(self._stream.run, self._stream.hidden[part]))

    def _see(self, places: Sequence[int], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = self._active
        if call is None:  # not of this pass
            return None
        known = set(module._forward_pre_hooks)
        for number in places:
            call.wait(number, tuple(self.hooks[number].inputs(module, args, kwargs)))
        # Of hooks that came meanwhile, this call of the module knows nothing.
        for key, hook in list(module._forward_pre_hooks.items()):
            if key not in known:
                rounded = hook(module, args)
                args = args if rounded is None else rounded
        return args, kwargs


class _Call:
    """A block at work on some windows, in a greenlet of its own."""

    def __init__(self, owner: StagedPass, run: Any) -> None:
        self._owner = owner
        self._seen: tuple[int, tuple[Inputs, ...]] | None = None
        self._greenlet = greenlet(run)

    def to(self, number: int) -> tuple[Inputs, ...]:
        while True:
            self._go_on()
            if self._seen is None:
                raise RuntimeError(f"hook {number} was not called")
            (at, found), self._seen = self._seen, None
            if at == number:
                return found

    def to_end(self) -> Tensor:
        while True:
            output = self._go_on()
            if self._seen is None:
                found: Tensor = output
                return found
            self._seen = None

    def wait(self, number: int, inputs: tuple[Inputs, ...]) -> None:
        """Called inside: nothing of what is seen may stay behind in the suspended frame."""
        self._seen = number, inputs
        del inputs
        parent = self._greenlet.parent
        if parent is None:
            raise RuntimeError("a call waits outside of any pass")
        parent.switch()

    def _go_on(self) -> Any:
        self._owner._active, before = self, self._owner._active
        try:
            return self._greenlet.switch()
        finally:
            self._owner._active = before
