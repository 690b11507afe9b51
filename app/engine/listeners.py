"""Who wants to hear of which events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import MethodType
from typing import Any
from weakref import WeakMethod

import shiboken6
from PySide6.QtCore import QObject

from benchvise.core.protocol.events import Event, Finished, Partial
from benchvise.core.protocol.requests import Request

Kinds = type | tuple[type, ...]
Heard = Callable[[int, Any, Any], None]
"""Takes the request's number, what the event carries (a result, a partial result, else the event) and the request."""


@dataclass(frozen=True)
class Asked:
    """A request is about to be sent to the engine."""

    request: int


@dataclass(frozen=True)
class _Listener:
    heard: WeakMethod[Any]
    carrying: Kinds
    answering: Kinds

    def wants(self, content: object, request: Request | None) -> bool:
        return isinstance(content, self.carrying) and isinstance(request, self.answering)


class Listeners:
    """Methods by the kind of event that they hear of. They are held weakly, and are not called on destroyed objects."""

    def __init__(self) -> None:
        self._by_kind: dict[type, list[_Listener]] = {}

    def add(self, kinds: Kinds, heard: Heard, carrying: Kinds = object, answering: Kinds = object) -> None:
        """Call `heard(number, content, request)` for such events, in order. Raises TypeError for no bound method.

        carrying:  only results and partial results of these kinds.
        answering: only events of requests of these kinds. An event that belongs to no request comes with None.
        """
        if not isinstance(heard, MethodType):
            raise TypeError(f"{heard!r} is no method of an object, which could be held weakly")
        listener = _Listener(WeakMethod(heard), carrying, answering)
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            self._by_kind.setdefault(kind, []).append(listener)

    def tell(self, event: Event | Asked, request: Request | None) -> None:
        """Call everyone who wants to hear of the event."""
        content = _content(event)
        for heard in self._living(type(event), content, request):
            heard(event.request, content, request)

    def _living(self, kind: type, content: object, request: Request | None) -> Iterator[Heard]:
        for listener in tuple(self._by_kind.get(kind, ())):
            heard = listener.heard()
            if heard is None or _destroyed(heard.__self__):
                self._by_kind[kind].remove(listener)
            elif listener.wants(content, request):
                yield heard


def _content(event: Event | Asked) -> object:
    match event:
        case Partial():
            return event.record
        case Finished():
            return event.result
    return event


def _destroyed(owner: object) -> bool:
    return isinstance(owner, QObject) and not shiboken6.isValid(owner)
