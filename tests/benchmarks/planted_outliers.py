"""What transforms win back on a model with planted outlier channels, in KL divergence from the original.

    python tests/benchmarks/planted_outliers.py MODEL_FOLDER TEXT CALIBRATION_TEXT

The twin computes the same function as the model: a few gains of every norm are 30 times as large, and the columns that
read them 30 times smaller. Its linear layers are then rounded to the nearest values, with and without a transform.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchvise.core.activations.quantise import quantised
from benchvise.core.evaluate.blocks import find_blocks
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.rotate import Rotate
from benchvise.core.methods.scale import Scale
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.transform import Transform
from benchvise.core.transforms.model_structure import ModelStructure
from benchvise.core.transforms.registry import rewrite_of
from benchvise.core.transforms.rounding import nearest

TOKENS, WINDOWS, CALIBRATION_WINDOWS, BATCH = 256, 48, 64, 8
CHANNELS, FACTOR = 3, 30.0

Call = tuple[tuple[Any, ...], dict[str, Any]]


def windows(tokenizer: Callable[..., dict[str, Tensor]], path: str, count: int) -> Tensor:
    """Token ids int64 [windows, TOKENS], spread evenly over the text."""
    ids = tokenizer(Path(path).read_text(errors="ignore"), return_tensors="pt")["input_ids"][0]
    count = min(count, len(ids) // TOKENS)
    step = len(ids) // count
    return torch.stack([ids[index * step : index * step + TOKENS] for index in range(count)])


@torch.no_grad()
def log_probabilities(model: nn.Module, ids: Tensor) -> Tensor:
    return torch.cat([model(part).logits.log_softmax(-1) for part in ids.split(BATCH)])


def planted(model: nn.Module, channels: int = CHANNELS, factor: float = FACTOR) -> nn.Module:
    """The model with outlier channels behind every norm of its blocks: the same function."""
    twin = copy.deepcopy(model)
    blocks = find_blocks(twin).modules
    model_structure = ModelStructure(twin, blocks)
    generator = torch.Generator().manual_seed(11)
    for block in blocks:
        structure, _ = model_structure.of(block)
        for group in structure.groups:
            if group.norm:
                chosen = torch.randperm(len(group.rows), generator=generator)[:channels]
                norm = structure.norm(block, group.source)
                gain = norm.gain.clone()
                gain[chosen] *= factor
                norm.set_gain(gain)
                for consumer in group.consumers:
                    structure.linear(block, consumer.name).matrix[:, chosen] /= factor
    return twin


@torch.no_grad()
def block_calls(model: nn.Module, blocks: Sequence[nn.Module], ids: Tensor) -> dict[nn.Module, list[Call]]:
    """How the model calls each of its blocks, batch by batch."""
    calls: dict[nn.Module, list[Call]] = {block: [] for block in blocks}
    hooks = [
        block.register_forward_pre_hook(
            lambda module, args, kwargs: calls[module].append((args, kwargs)), with_kwargs=True
        )
        for block in blocks
    ]
    for part in ids.split(BATCH):
        model(part, use_cache=False)
    for hook in hooks:
        hook.remove()
    return calls


@torch.no_grad()
def run_calls(block: nn.Module, calls: list[Call]) -> None:
    for args, kwargs in calls:
        block(*args, **kwargs)


@torch.no_grad()
def compressed(
    model: nn.Module, scheme: Scheme, activations: Activations | None, transform: Transform | None, ids: Tensor
) -> nn.Module:
    """A copy with the transform, and every linear layer of the blocks rounded to the nearest values."""
    copied = copy.deepcopy(model)
    blocks = find_blocks(copied).modules
    network = block_wise = None
    if transform.reach == "network":
        network = rewrite_of(transform)(transform, copied, blocks, 1)
        network.embedding_and_head(copied)
    elif transform is not None:
        block_wise = rewrite_of(transform)(transform)
    calls = block_calls(copied, blocks, ids) if block_wise is not None else {}
    for index, block in enumerate(blocks):
        if network is not None:
            network.block(block, index)
        if block_wise is not None:
            names = [name for name, module in block.named_modules() if isinstance(module, nn.Linear)]
            treated = {f"{name}.weight": (scheme, activations) for name in names}
            notes = block_wise.apply(block, lambda block=block: run_calls(block, calls[block]), treated)
            print(f"    block {index}: " + "; ".join(notes), file=sys.stderr)
    for block in blocks:
        for module in block.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(nearest(scheme, module.weight.data))
                if activations is not None:
                    module.register_forward_pre_hook(lambda _, inputs: (quantised(activations, inputs[0]),))
    return copied


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("calibration")
    given = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(given.model)
    model = AutoModelForCausalLM.from_pretrained(given.model, dtype=torch.float32).eval().requires_grad_(False)
    text = windows(tokenizer, given.text, WINDOWS)
    calibration = windows(tokenizer, given.calibration, CALIBRATION_WINDOWS)
    reference = log_probabilities(model, text)
    twin = planted(model)

    def divergence(candidate: nn.Module) -> float:
        return float((reference.exp() * (reference - log_probabilities(candidate, text))).sum(-1).mean())

    print(f"twin alone: KL {divergence(twin):.2e}")
    for title, scheme, activations, transforms in (
        ("W8A8", Integer(bits=8, granularity="channel"), Activations(), (Smooth(), Rotate())),
        ("int4 g128", Integer(bits=4, symmetric=False), None, (Scale(), Rotate())),
    ):
        plain = divergence(compressed(model, scheme, activations, None, calibration))
        hurt = divergence(compressed(twin, scheme, activations, None, calibration))
        print(f"{title}: nearest {plain:.5f}, with planted outliers {hurt:.5f}", flush=True)
        for transform in transforms:
            start = time.perf_counter()
            changed = compressed(twin, scheme, activations, transform, calibration)
            seconds = time.perf_counter() - start
            won = divergence(changed)
            unplanted = divergence(compressed(model, scheme, activations, transform, calibration))
            print(
                f"  {transform}: {won:.5f}, wins back {(hurt - won) / (hurt - plain):.1%} ({seconds:.0f} s); "
                f"on the model itself {unplanted:.5f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
