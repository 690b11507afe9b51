"""Whether the config that surgery leaves describes the network that it leaves: tried on modules without values."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import transformers
from torch import nn
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError, RecipeError
from benchvise.core.evaluate.blocks import find_blocks
from benchvise.core.job.channel_proof import prove_channels
from benchvise.core.runtime.architecture import architecture_of, own_keys
from benchvise.core.runtime.replace import holder_name
from benchvise.core.surgery.derived import Derived, Operated

_POSITION_WORDS = ("layer", "block", "idx", "index")
_PLAIN = (bool, int, float, str, tuple, type(None))


def prove_surgery(operated: Operated) -> None:
    """Build the network before and after, without values, and hold one against the other.

    Every tensor must have a place of its shape, every parameter a tensor, every block that only moved must be built as
    it was, of the same modules, shapes and settings, and channels that leave must be used by nothing else. Raises
    RecipeError where that is not so, and CheckpointError for a config that describes no network.
    """
    for step in operated.steps:
        before, after = _built(step.source), _built(step.checkpoint)
        names_before, names_after = _names(before, step.source), _names(after, step.checkpoint)
        _refuse_gaps(step, names_before, names_after)
        _refuse_unheld(step, _unheld(after, names_after) - _unheld(before, names_before))
        if step.groups:
            prove_channels(step, before, after, names_before)
        elif not step.cuts:
            _refuse_differing(step, before, after, _moves(step, before, names_before, names_after))


def _built(checkpoint: Checkpoint) -> nn.Module:
    """The checkpoint's own class, which need not be a causal language model, on meta."""
    kind = getattr(transformers, checkpoint.architecture, None)
    model_type = checkpoint.config.get("model_type")
    known = isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)
    if kind is None or not known or model_type not in CONFIG_MAPPING:
        return architecture_of(checkpoint).on_meta()
    try:
        config = CONFIG_MAPPING[model_type].from_dict(own_keys(checkpoint.config))
        with torch.device("meta"):
            model: nn.Module = kind(config)
    except (RuntimeError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"config.json does not describe a '{model_type}' network: {str(error).strip()[:300]}",
            where=checkpoint.path,
            remedy="Take the surgery out of the recipe, or config.json from where the weights came from.",
        ) from error
    return model.eval()


def _names(model: nn.Module, checkpoint: Checkpoint) -> dict[str, str | None]:
    return {layer.name: holder_name(model, layer) for layer in checkpoint.layers}


def _unheld(model: nn.Module, names: Mapping[str, str | None]) -> set[str]:
    """Parameters that no tensor goes to, but for those that are shared with one that has a tensor."""
    held = {id(model.get_parameter(name)) for name in names.values() if name is not None}
    return {name for name, parameter in model.named_parameters() if id(parameter) not in held}


def _refuse_gaps(step: Derived, before: Mapping[str, str | None], after: Mapping[str, str | None]) -> None:
    for layer, origin in zip(step.checkpoint.layers, step.origins, strict=True):
        if after[layer.name] is None and before[step.source.layers[origin].name] is not None:
            raise _refused(step, f"'{layer.name}' (shape {list(layer.shape)}) would have no place in the network")


def _refuse_unheld(step: Derived, names: set[str]) -> None:
    if names:
        raise _refused(step, f"'{min(names)}' would be left without a tensor")


def _moves(
    step: Derived, before: nn.Module, names_before: Mapping[str, str | None], names_after: Mapping[str, str | None]
) -> dict[str, str]:
    """The path of each block before, and after."""
    blocks = find_blocks(before)
    moves: dict[str, str] = {}
    for layer, origin in zip(step.checkpoint.layers, step.origins, strict=True):
        was, now = names_before[step.source.layers[origin].name], names_after[layer.name]
        if blocks is not None and was is not None and now is not None and was.startswith(f"{blocks.path}."):
            moves[_block(was, blocks.path)] = _block(now, blocks.path)
    return moves


def _block(name: str, path: str) -> str:
    return f"{path}.{name[len(path) + 1 :].partition('.')[0]}"


def _refuse_differing(step: Derived, before: nn.Module, after: nn.Module, moves: Mapping[str, str]) -> None:
    for was, now in moves.items():
        numbers = int(was.rpartition(".")[2]), int(now.rpartition(".")[2])
        old, new = dict(before.get_submodule(was).named_modules()), dict(after.get_submodule(now).named_modules())
        if {name: type(module) for name, module in old.items()} != {name: type(module) for name, module in new.items()}:
            raise _refused(step, f"Block {numbers[0]} would be of other modules as block {numbers[1]}")
        for name, module in old.items():
            differing = _differing(module, new[name], numbers)
            if differing:
                where = f"{was}.{name}".rstrip(".")
                raise _refused(
                    step, f"'{where}' would not compute what it does: its {differing} depends on the block's number"
                )


def _differing(old: nn.Module, new: nn.Module, numbers: tuple[int, int]) -> str:
    """A setting of a module that is not what it was, other than the number of its block; "" for none."""
    one, other = _settings(old), _settings(new)
    for name in one.keys() | other.keys():
        value, now = one.get(name), other.get(name)
        numbered = any(word in name for word in _POSITION_WORDS)
        if value != now and not (numbered and (value, now) == numbers):
            return name
    return ""


def _settings(module: nn.Module) -> dict[str, object]:
    found: dict[str, object] = {
        name: value for name, value in vars(module).items() if isinstance(value, _PLAIN) and name[:1] != "_"
    }
    for name, values in module.named_parameters(recurse=False):
        found[f"shape of {name}"] = tuple(values.shape)
    return found


def _refused(step: Derived, why: str) -> RecipeError:
    return RecipeError(
        f"The surgery leaves a network that no config.json of this kind describes. {why}",
        where=step.checkpoint.path,
        remedy="Choose other blocks, or take the surgery out of the recipe.",
    )
