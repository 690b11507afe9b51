"""Registries of methods: our own, and those that installed packages offer by entry points.

A package offers a method with a line in its `pyproject.toml`:

    [project.entry-points."benchvise.schemes"]
    ternary = "my_package.ternary:Ternary"

The object is a settings class like our own. What computes comes from its classmethod `implementation()`, which may
import torch: the settings class itself is loaded by the window too. An entry point that cannot be used is skipped, and
`Registry.problems` says why.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import threading
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from benchvise.core.errors import RecipeError


class RegisteredMethod(Protocol):
    """What every class in a registry has."""

    key: ClassVar[str]
    title: ClassVar[str]


M = TypeVar("M", bound=RegisteredMethod)

_KEY = re.compile(r"[a-z][a-z0-9_]*")
_TEXTS = ("key", "title", "summary", "source")
_LOADING = threading.RLock()
"""One for all registries: loading an entry point may import a module that looks into another registry."""

_MADE: dict[type[Any], Any] = {}
"""What `implementation()` gave, by settings class: a class that is made in that method stays one class."""


@dataclass(frozen=True)
class Origin:
    """The installed distribution that a method comes from."""

    distribution: str
    version: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".rstrip()


@dataclass(frozen=True)
class PluginProblem:
    """An entry point that was skipped.

    entry: as it is declared, "ternary = my_package.ternary:Ternary".
    kind:  "import" when it cannot be imported, "class" when it is no usable method, "clash" when its key is taken.
    detail: the exception, what the class lacks, or what holds the key.
    """

    group: str
    entry: str
    origin: Origin
    kind: Literal["import", "class", "clash"]
    detail: str


class Registry(MutableMapping[str, type[M]]):
    """Classes of one axis by key, our own first. Entry points are read at the first look into it.

    base:        what every class of the axis derives from.
    implemented: whether a class of another package names what computes by a classmethod `implementation`.
    """

    def __init__(self, group: str, base: type[Any], own: Iterable[type[M]], *, implemented: bool = True) -> None:
        self.group = group
        self._base = base
        self._implemented = implemented
        self._kinds: dict[str, type[M]] = {kind.key: kind for kind in own}
        self._origins: dict[str, Origin] = {}
        self._problems: list[PluginProblem] = []
        self._begun = self._complete = False

    def __getitem__(self, key: str) -> type[M]:
        return self._loaded()[key]

    def __setitem__(self, key: str, kind: type[M]) -> None:
        """Put a class in for this process alone, as tests and notebooks do."""
        self._loaded()[key] = kind

    def __delitem__(self, key: str) -> None:
        del self._loaded()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._loaded())

    def __len__(self) -> int:
        return len(self._loaded())

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """The entry points that were skipped."""
        self._loaded()
        return tuple(self._problems)

    def origin(self, key: str) -> Origin | None:
        """The distribution that the method `key` comes from; None for our own."""
        self._loaded()
        return self._origins.get(key)

    def _loaded(self) -> dict[str, type[M]]:
        if not self._complete:
            with _LOADING:
                if not self._begun:
                    self._begun = True  # what an entry point imports may look in here: it sees what is there so far
                    for entry in sorted(entry_points(group=self.group), key=_place):
                        self._add(entry)
                    self._complete = True
        return self._kinds

    def _add(self, entry: EntryPoint) -> None:
        origin = _origin(entry)
        try:
            kind = entry.load()
            lack = self._lack(kind)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever another package does, ours goes on
            self._skip(entry, "import", f"{type(error).__name__}: {error}")
            return
        if lack:
            self._skip(entry, "class", lack)
        elif kind.key in self._kinds:
            holder = self._origins.get(kind.key)
            self._skip(entry, "clash", f"'{kind.key}' of {holder or 'Benchvise'}")
        else:
            self._kinds[kind.key] = kind
            self._origins[kind.key] = origin

    def _skip(self, entry: EntryPoint, kind: Literal["import", "class", "clash"], detail: str) -> None:
        declared = f"{entry.name} = {entry.value}"
        self._problems.append(PluginProblem(self.group, declared, _origin(entry), kind, detail))

    def _lack(self, kind: object) -> str:
        """What keeps the object from being a method of this axis, as a phrase; "" when nothing does."""
        if not isinstance(kind, type) or not issubclass(kind, self._base):
            return f"it is no subclass of {self._base.__name__}"
        missing = [name for name in _TEXTS if not isinstance(getattr(kind, name, None), str)]
        if missing:
            return f"it has no {', '.join(missing)}"
        if not _KEY.fullmatch(kind.key):  # type: ignore[attr-defined]
            return f"its key {kind.key!r} is not in small letters, digits and underscores"  # type: ignore[attr-defined]
        if inspect.isabstract(kind):
            return f"it does not define {', '.join(sorted(kind.__abstractmethods__))}"  # type: ignore[attr-defined]
        if self._implemented and not callable(getattr(kind, "implementation", None)):
            return "it has no classmethod 'implementation'"
        if dataclasses.is_dataclass(kind):
            if "__dataclass_fields__" not in vars(kind):
                return "it is not decorated with '@dataclass(frozen=True)'"
            undeclared = [field.name for field in dataclasses.fields(kind) if "setting" not in field.metadata]
            if undeclared:
                return f"its field '{undeclared[0]}' is not declared with 'setting'"
        kind()  # forms start from the defaults
        return ""


def _place(entry: EntryPoint) -> tuple[str, str, str]:
    """Where two packages want one key, the first in the alphabet has it, whatever the order of installation."""
    return (_origin(entry).distribution, entry.name, entry.value)


def _origin(entry: EntryPoint) -> Origin:
    distribution = entry.dist
    return Origin(distribution.name, distribution.version) if distribution is not None else Origin("unknown", "")


def implementation(kind: type[Any], wanted: type[Any]) -> Any:
    """What `kind.implementation()` gives: an instance or a subclass of `wanted`, made once.

    Raises RecipeError, naming the method and its module, when it gives none.
    """
    if kind not in _MADE:
        _MADE[kind] = _implementation(kind)
    found = _MADE[kind]
    if not isinstance(found, wanted) and not (isinstance(found, type) and issubclass(found, wanted)):
        raise _unusable(kind, f"its implementation is no {wanted.__name__}")
    return found


def _implementation(kind: type[Any]) -> Any:
    try:
        return kind.implementation()
    except Exception as error:
        raise _unusable(kind, f"{type(error).__name__}: {error}") from error


def _unusable(kind: type[Any], why: str) -> RecipeError:
    return RecipeError(
        f"The method '{kind.key}' of the module {kind.__module__} cannot be used: {why}",
        remedy="Update or remove the package that holds it.",
    )
