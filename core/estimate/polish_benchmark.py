"""Polish tried out on one block of random weights, and on the way from the last block to the loss."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call

from benchvise.core.blockwise.block_run import BlockRun, hidden_of
from benchvise.core.blockwise.half_precision import multiplies_halves
from benchvise.core.blockwise.network import Network
from benchvise.core.checkpoint.records import Layer
from benchvise.core.estimate.block_benchmark import BlockBenchmark
from benchvise.core.estimate.rates import PolishRates
from benchvise.core.evaluate.divergence import kl_divergence, log_probabilities
from benchvise.core.memory import PeakMemory, release_freed, rss_bytes
from benchvise.core.methods.tuning import Tuning
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.tuning.polished_network import PolishedNetwork
from benchvise.core.tuning.registry import trainee_of
from benchvise.core.tuning.trained_part import TrainedPart
from benchvise.core.weights.weights import OriginalWeights, RunWeights

PartOf = Callable[[nn.Module, RunWeights, Layer], TrainedPart | None]

LOGIT_BYTES = 64 << 20
OPTIMISER_COPIES = 6
"""Of what is tuned: where it began, its unit, its change, the change's gradient and the optimiser's two moments."""

WORKING_COPIES = 3
"""Of a decoded weight in a step: before and after its rounding, and its gradient."""


def part_of(settings: Tuning) -> PartOf | None:
    """What a tuning step tunes of a layer; None where it cannot be told, as it is no kind of polish."""
    trainee = trainee_of(settings)
    return partial(trainee.part_of, settings) if issubclass(trainee, PolishedNetwork) else None


def benchmark_block(
    benchmark: BlockBenchmark,
    network: Network,
    index: int,
    rows: Sequence[PlanRow],
    batch: int,
    part_of: PartOf,
    *,
    halves: bool = False,
) -> PolishRates:
    """Block `index`, whose treated layers are `rows`, with so many windows in a step.

    part_of: what is tuned. halves: whether products are taken in bfloat16 where the processor does that faster.
    """
    started = time.perf_counter()
    run = benchmark.recorded(network, index, rows)
    record = time.perf_counter() - started
    checkpoint = benchmark.plan.checkpoint
    treatments = {row.layer.name: row.treatment for row in rows}
    weights = RunWeights(checkpoint.path, OriginalWeights(checkpoint), treatments, run.layer_files)
    started = time.perf_counter()
    network.load(index)
    load = time.perf_counter() - started
    layers = [layer for layer in checkpoint.layers if network.inside.get(layer.name) == index]
    parts = [part for layer in layers if (part := part_of(network.model, weights, layer)) is not None]
    block = _TunedBlock(network, index, parts, halves=halves and multiplies_halves(network.device))
    hidden = torch.randn(batch, benchmark.scale.tokens, _width(network), generator=torch.Generator().manual_seed(0))
    block.step(hidden[:1])
    one, all_of_it = _seconds(lambda: block.step(hidden[:1])), _seconds(lambda: block.step(hidden))
    each = max(0.0, (all_of_it - one) / (batch - 1)) if batch > 1 else one
    with torch.no_grad():
        forward = _seconds(lambda: block.run(hidden)) / batch
    tuned = sum(layer.parameters for layer in layers if any(p.decodes and p.layer is layer for p in parts))
    kept = sum(change.numel() for part in parts for change in part.change.values())
    saved = block.saved(hidden) // batch
    network.drop(index)
    return PolishRates(
        step=each,
        decode=max(0.0, one - each),
        forward=forward,
        saved=saved,
        parts=4 * (tuned + OPTIMISER_COPIES * kept),
        working=4 * WORKING_COPIES * tuned,
        load=load,
        record=record,
        trained=kept,
    )


def benchmark_loss(network: Network, vocabulary: int, tokens: int) -> PolishRates:
    """From the hidden state behind the last block to the loss and back; `saved` is the most it takes at once."""
    width = _width(network)
    positions = max(1, min(tokens, LOGIT_BYTES // (4 * vocabulary)))
    generator = torch.Generator().manual_seed(0)
    head = torch.randn(vocabulary, width, generator=generator).mul_(width**-0.5)
    hidden = torch.randn(positions, width, generator=generator)

    def original() -> Tensor:
        with torch.no_grad():
            return log_probabilities(hidden @ head.T)

    def step(wanted: Tensor) -> None:
        with torch.enable_grad():
            entering = hidden.requires_grad_()
            found = (entering @ head.T).float().log_softmax(-1)
            torch.autograd.grad(kl_divergence(wanted, found).mean(), entering)

    wanted = original()
    step(wanted)
    release_freed()
    before = rss_bytes()
    with PeakMemory() as peak:
        back = _seconds(lambda: step(torch.stack([wanted])[0]))
    forward = _seconds(original)
    windows = positions / tokens
    saved = int(max(0, peak.bytes - before) / windows)
    return PolishRates(back / windows, 0.0, forward / windows, saved, 0, 0, 0.0, 0.0)


class _TunedBlock:
    """A block that computes with what is tuned of its layers."""

    def __init__(self, network: Network, index: int, parts: Sequence[TrainedPart], *, halves: bool) -> None:
        self._products = partial(torch.autocast, network.device.type, torch.bfloat16, enabled=halves)
        self.run: BlockRun = network.run(index)
        self._parts = [(network.name_inside(index, part.parameter), part) for part in parts]
        self._changes = [change.requires_grad_() for part in parts for change in part.change.values()]

    def step(self, hidden: Tensor) -> None:
        """Forward and back, to what is tuned and to the hidden states."""
        with torch.enable_grad():
            entering = hidden.detach().clone().requires_grad_()
            torch.autograd.grad(self._output(entering).square().mean(), [entering, *self._changes])

    def saved(self, hidden: Tensor) -> int:
        """Bytes that are kept on the way forward for the way back, beside the weights."""
        found: dict[int, int] = {}
        with torch.enable_grad():
            weights = self._weights()
            own = {each.untyped_storage().data_ptr() for each in (*weights.values(), *self.run.module.parameters())}

            def note(tensor: Tensor) -> Tensor:
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in own:
                    found[storage.data_ptr()] = storage.nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                self._output(hidden.detach().clone().requires_grad_(), weights)
        return sum(found.values())

    def _weights(self) -> dict[str, Tensor]:
        return {name: part.weight() for name, part in self._parts}

    def _output(self, hidden: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        given = self.run.arguments(hidden.shape[0], hidden.shape[1])
        values = self._weights() if weights is None else weights
        with self._products():
            return hidden_of(functional_call(self.run.module, values, (hidden, *given.args), given.kwargs))


def _width(network: Network) -> int:
    return int(network.enter(torch.ones(1, 2, dtype=torch.int64)).shape[-1])


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
