"""What a network's loader makes of a checkpoint's layers. Facts only; no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class NetworkModules:
    """The modules of the network that a checkpoint's config describes, as `transformers` builds it.

    linear:      paths of all torch Linear modules.
    paths:       by a layer's name, the path of the Linear module that its tensor goes to; other layers are missing.
    initialised: paths of Linear modules whose `weight` the network's own initialisation touches while it is loaded: a
                 folder in which codes have another name does not load then.
    rebuilt:     paths of modules that the loader replaces for packed folders, by others that no stored tensor fits.
    """

    linear: frozenset[str]
    paths: Mapping[str, str] = field(default_factory=dict)
    initialised: frozenset[str] = frozenset()
    rebuilt: tuple[str, ...] = ()

    @classmethod
    def of_names(cls, names: Iterable[str]) -> NetworkModules:
        """Of modules that are named as the checkpoint names its layers."""
        linear = frozenset(names)
        return cls(linear, {name: name for name in linear})
