"""What `transformers` calls a checkpoint's tensors in the running model, by its own table of renamings and fusions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from torch import nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    ConversionOps,
    MergeModulelist,
    Transpose,
    WeightConverter,
    WeightRenaming,
    apply_converters,
    apply_renamings,
)


@dataclass(frozen=True)
class ListPlace:
    """A tensor's place in a parameter stacked from a list of modules, each of whose items may join several tensors.

    item: which module of the list; part: which of the `parts` tensors joined along the rows.
    """

    item: int
    part: int
    parts: int


@dataclass(frozen=True)
class ModelName:
    """The parameter that a checkpoint's tensor goes to.

    name:  without regard to the prefix of the base model, which checkpoints have or lack.
    place: where in the parameter, None for a tensor that is the whole of it.
    """

    name: str
    place: ListPlace | None = None


class CheckpointNames:
    """Renames tensors as `transformers` does when it loads them into `model`, whose weights may be on meta."""

    def __init__(self, model: nn.Module) -> None:
        table = get_model_conversion_mapping(model) if isinstance(model, PreTrainedModel) else []
        self._renamings = [entry for entry in table if isinstance(entry, WeightRenaming)]
        self._converters = [entry for entry in table if isinstance(entry, WeightConverter)]
        self._by_source = {source: entry for entry in self._converters for source in entry.source_patterns}

    def of(self, tensor: str) -> ModelName | None:
        """The place of the named tensor, None where it is split, turned or mixed with others on the way."""
        renamed = apply_renamings(tensor, self._renamings)
        name, source = apply_converters(renamed, self._converters)
        if source is None:
            return ModelName(name)
        converter = self._by_source[source]
        if all(isinstance(operation, Transpose) and operation.check_dims for operation in converter.operations):
            return ModelName(name)
        stacks = len(converter.target_patterns) == 1 and _stacks(converter.operations)
        item = re.search(source.replace("*", r"(\d+)"), renamed) if stacks else None
        if item is None or not item.groups():
            return None
        sources = converter.source_patterns
        return ModelName(name, ListPlace(int(item[1]), sources.index(source), len(sources)))


def names_of(model: nn.Module) -> CheckpointNames:
    """The renamer of `model`, made once: building it walks all modules."""
    found = _NAMES.get(model)
    if found is None:
        found = _NAMES[model] = CheckpointNames(model)
    return found


_NAMES: WeakKeyDictionary[nn.Module, CheckpointNames] = WeakKeyDictionary()


def _stacks(operations: list[ConversionOps]) -> bool:
    """Whether the operations stack a list of modules, and at most join several such stacks along their rows."""
    kinds = [(type(operation), getattr(operation, "dim", None)) for operation in operations]
    return kinds in ([(MergeModulelist, 0)], [(MergeModulelist, 0), (Concatenate, 1)])
