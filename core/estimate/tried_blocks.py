"""Blocks of a plan that are tried out in place of all: one of each kind, and the rates that come of it."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from benchvise.core.blockwise.network import Network, layers_inside
from benchvise.core.estimate import polish_benchmark
from benchvise.core.estimate.block_benchmark import BenchmarkSize, BlockBenchmark, scale_for
from benchvise.core.estimate.block_kinds import (
    MAX_KINDS,
    digest,
    in_common,
    kinds_of,
    most_common,
    rows_of_blocks,
)
from benchvise.core.estimate.rates import BlockRates, KnownRates, NetworkRates, PolishRates
from benchvise.core.estimate.workload import Calibrating, streams_of
from benchvise.core.evaluate.blocks import find_blocks
from benchvise.core.job.job import learns
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import Progress
from benchvise.core.recipe.plan import Plan, PlanRow
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.text import plural
from benchvise.core.tuning.polished_network import tuned_part

_RUN: set[str] = set()
"""Networks that this process has run."""


class TriedBlocks:
    """What is tried out of a network, once, with the job's own code; what is known already is not tried.

    model: digest of the network; folder: where blocks under test may write.
    """

    def __init__(
        self, plan: Plan, known: KnownRates, model: str, calibrating: Calibrating, folder: Path, progress: Progress
    ) -> None:
        self._plan = plan
        self._rates = known
        self._model = model
        self._calibrating = calibrating
        self._folder = folder
        self._progress = progress
        self._settings = digest(
            [[each.key, repr(each)] for each in plan.recipe.transforms],
            plan.recipe.calibration.inputs,
            plan.recipe.calibration.window_tokens,
            streams_of(plan, learns=learns(plan)),
        )

    @cached_property
    def network_rates(self) -> NetworkRates:
        """Of the network as this plan's benchmarks need it."""
        treated = sorted(row.layer.name for row in self._outside_of(self._by_structure))
        return self._rates.get(NetworkRates, f"{self._model} {self._settings} {digest(treated)}", self._try_network)

    def _try_network(self) -> NetworkRates:
        self._network, found = self._benchmark.network(lambda network: self._chosen(network.inside))
        _RUN.add(self._model)
        return found

    @cached_property
    def _network(self) -> Network:
        network, _ = self._benchmark.network(lambda network: self._chosen(network.inside))
        _RUN.add(self._model)
        return network

    @cached_property
    def _benchmark(self) -> BlockBenchmark:
        return BlockBenchmark(self._plan, self._folder, self.scale)

    @cached_property
    def scale(self) -> BenchmarkSize:
        """How many windows blocks are tried out with."""
        count = max(self._by_structure.values(), default=0) + 1
        calibrating = self._calibrating
        return scale_for(self._plan, count, max(1, calibrating.windows), calibrating.tokens)

    @cached_property
    def _by_structure(self) -> dict[str, int]:
        """Blocks by the names of their layers, as they would be if the network could be taken apart."""
        meta = architecture_of(self._plan.checkpoint).on_meta()
        found = find_blocks(meta)
        return {} if found is None else layers_inside(meta, self._plan.checkpoint.layers, found.path)

    @cached_property
    def _inside(self) -> dict[str, int]:
        if self.network_rates.whole:
            return dict.fromkeys((layer.name for layer in self._plan.checkpoint.layers), 0)
        return self._by_structure

    @cached_property
    def blocks(self) -> list[list[PlanRow]]:
        """Rows of the plan in each block."""
        return rows_of_blocks(self._plan, self._inside)

    @cached_property
    def outside(self) -> list[PlanRow]:
        """Treated rows of the plan outside the blocks."""
        return self._outside_of(self._inside)

    def _outside_of(self, inside: dict[str, int]) -> list[PlanRow]:
        return [row for row in self._plan.treated_rows if row.layer.name not in inside]

    @cached_property
    def resident(self) -> int:
        """Values of the layers that keep their weights all through the walk."""
        whole = self.network_rates.whole
        layers = self._plan.checkpoint.layers
        return sum(layer.parameters for layer in layers if whole or layer.name not in self._inside)

    @property
    def kept_outside(self) -> int:
        """Values of the layers outside the blocks that the plan keeps."""
        rows = (row for row in self._plan.rows() if row.layer.name not in self._inside)
        return sum(row.layer.parameters for row in rows if row.treatment.keeps)

    @property
    def fresh(self) -> bool:
        """Whether this process has not yet loaded what it takes to run the network."""
        return self._model not in _RUN

    @cached_property
    def _kinds(self) -> dict[str, list[int]]:
        return kinds_of(self._plan, self._inside)

    def _chosen(self, inside: dict[str, int]) -> list[int]:
        """The blocks that are tried out: one of each of the most common kinds."""
        return [blocks[0] for blocks in most_common(kinds_of(self._plan, inside))]

    def _like(self, index: int) -> tuple[str, int]:
        """Kind and number of the block that is tried out for block `index`."""
        kinds = {blocks[0]: kind for kind, blocks in self._kinds.items() if blocks in most_common(self._kinds)}
        for kind, blocks in self._kinds.items():
            if index in blocks and blocks[0] in kinds:
                return kind, blocks[0]
        nearest = max(kinds, key=lambda other: in_common(self.blocks[index], self.blocks[other]))
        return kinds[nearest], nearest

    def of_block(self, index: int) -> BlockRates:
        """Rates of block `index`, from the one that is tried out for it."""
        kind, tried = self._like(index)
        self._progress.check_cancelled()
        return self._rates.get(
            BlockRates,
            f"{self._model} {self._settings} {kind} {self.scale.windows}",
            lambda: self._benchmark.block(self._network, tried, self.blocks[tried]),
        )

    def of_tuning(self, settings: Tuning, index: int, windows: int) -> PolishRates:
        """Rates of a tuning step in block `index`; what has none of its own is taken as polish."""
        kind, tried = self._like(index)
        part_of = polish_benchmark.part_of(settings)
        step = f"{settings.key} {settings.way}".rstrip() if part_of is not None else Polish.key
        self._progress.check_cancelled()
        return self._rates.get(
            PolishRates,
            f"{step} {self._model} {kind} {windows} of {self._calibrating.tokens}",
            lambda: polish_benchmark.benchmark_block(
                self._benchmark,
                self._network,
                tried,
                self.blocks[tried],
                windows,
                part_of or tuned_part,
                halves=settings.halves,
            ),
        )

    def of_loss(self, vocabulary: int) -> PolishRates:
        """Rates of the head and the loss of a tuning step."""
        return self._rates.get(
            PolishRates,
            f"loss {self._model}",
            lambda: polish_benchmark.benchmark_loss(self._network, vocabulary, self._calibrating.tokens),
        )

    @cached_property
    def embedding_and_head(self) -> BlockRates:
        """Rates of what is treated outside the blocks."""
        rows = [(row.layer.name, repr(row.treatment)) for row in self.outside]
        return self._rates.get(
            BlockRates,
            f"embedding_and_head {self._model} {self._settings} {digest(rows)} {self.scale.windows}",
            lambda: self._benchmark.embedding_and_head(self._network, self.outside),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What was tried out, as sentences."""
        scale, kinds = self.scale, len(self._kinds)
        notes = [f"Tried out on {plural(min(kinds, MAX_KINDS), 'block')} with {plural(scale.windows, 'window')}"]
        if kinds > MAX_KINDS:
            notes.append(f"{kinds - MAX_KINDS} more kinds of blocks are taken to be like the one most like them")
        return tuple(notes)
