"""The parts of a job with their seconds and bytes, from what is counted and what was tried out.

Rates are kept by what they depend on: the network's config, the shapes and treatments of a block, windows, settings.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from benchvise.core.blockwise.calibration import shipped_text
from benchvise.core.blockwise.network import Network, layers_inside
from benchvise.core.estimate import layer_benchmark, polish_benchmark
from benchvise.core.estimate.block_benchmark import BenchmarkSize, BlockBenchmark, scale_for
from benchvise.core.estimate.block_kinds import (
    MAX_KINDS,
    digest,
    in_common,
    kinds_of,
    layer_kind,
    most_common,
    rows_of_blocks,
)
from benchvise.core.estimate.rates import BlockRates, KnownRates, LayerRates, NetworkRates, PolishRates, TextRates
from benchvise.core.estimate.workload import (
    Calibrating,
    Learning,
    held_streams,
    learning_of,
    streams_of,
    tuning_workload,
)
from benchvise.core.evaluate.blocks import find_blocks
from benchvise.core.evaluate.text import read_text
from benchvise.core.job.job import learns, walks
from benchvise.core.memory import release_freed, rss_bytes
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import Progress
from benchvise.core.recipe.plan import Plan, PlanRow
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.tokenizer import load_tokenizer
from benchvise.core.solvers.learned_rounding import probed_windows
from benchvise.core.text import plural
from benchvise.core.tuning.polished_network import tuned_part
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.workspace.workspace import Workspace

TRIED_CHARACTERS = 1 << 21
"""Of a long text that are cut into tokens, which takes a second or two; the others are taken to be like them."""

Parts = tuple[tuple[str, float], ...]
Bytes = tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class CostEstimate:
    """Seconds by part, and bytes that are added to the process when most is in memory.

    stream_bytes: of one hidden state for all tokens. notes: as sentences.
    """

    seconds: Parts
    memory: Bytes
    stream_bytes: int = 0
    notes: tuple[str, ...] = ()

    def beginning(self, seconds: float) -> CostEstimate:
        """With what comes before all of it."""
        return replace(self, seconds=(("opening and beginning", seconds), *self.seconds))


class StreamingCostModel:
    """For layers that are treated one by one, each for itself."""

    def __init__(self, plan: Plan, rates: KnownRates, folder: Path, progress: Progress) -> None:
        self._plan = plan
        self._rates = rates
        self._workspace = Workspace(str(folder))
        self._progress = progress

    def estimate(self) -> CostEstimate:
        rows = self._plan.treated_rows
        self._workspace.layers.mkdir(parents=True, exist_ok=True)
        kinds: dict[str, list[PlanRow]] = {}
        for row in rows:
            kinds.setdefault(layer_kind(row), []).append(row)
        self._progress.start(len(kinds), "trials")
        solving, added = 0.0, 0
        for key, similar in kinds.items():
            self._progress.check_cancelled()
            found = self._rates.get(LayerRates, key, lambda row=similar[0]: self._try(row))  # type: ignore[misc]
            solving += sum(found.seconds * row.layer.nbytes / max(1, found.nbytes) for row in similar)
            added = max(added, found.added)
            self._progress.advance(1)
        return CostEstimate((("layers", solving),), (("the layer at work", added),))

    def _try(self, row: PlanRow) -> LayerRates:
        return layer_benchmark.benchmark_layer(row, weights_of(self._plan.operated), self._workspace)


class BlockwiseCostModel:
    """For a walk from block to block, and for polish."""

    def __init__(self, plan: Plan, rates: KnownRates, folder: Path, progress: Progress) -> None:
        self._plan = plan
        self._rates = rates
        self._folder = folder
        self._progress = progress
        self._learns = learns(plan)
        self._config: Any = architecture_of(plan.checkpoint).config
        self._model = digest(plan.checkpoint.config, sorted({layer.dtype for layer in plan.checkpoint.layers}))
        self._settings = digest(
            [[each.key, repr(each)] for each in plan.recipe.transforms],
            plan.recipe.calibration.inputs,
            plan.recipe.calibration.window_tokens,
            streams_of(plan, learns=self._learns),
        )

    def estimate(self) -> CostEstimate:
        walked = self._walk() if walks(self._plan) else None
        if walked is None:
            alone = StreamingCostModel(self._plan, self._rates, self._folder, self._progress).estimate()
            walked = replace(alone, seconds=(*self._reading, *alone.seconds))
        for step in self._plan.recipe.tuning:
            seconds, memory = self._tuning(step)
            larger = max(walked.memory, memory, key=lambda parts: sum(nbytes for _, nbytes in parts))
            notes = walked.notes if polish_benchmark.part_of(step) else (*walked.notes, _as_polish(step))
            walked = replace(walked, seconds=(*walked.seconds, *seconds), memory=larger, notes=notes)
        return walked

    def _walk(self) -> CostEstimate:
        network = self._network_rates
        calibrating = self._calibrating
        streams, windows = streams_of(self._plan, learns=self._learns), calibrating.windows
        passes = learning = rest = once = 0.0
        largest = 0
        last = len(self._blocks) - 1
        for index, rows in enumerate(self._blocks):
            found = self._of_kind(index)
            onward = index < last or bool(self._outside)
            # Behind the last block nothing needs its outputs.
            spared = 0 if onward or not self._learns or not found.passes else 1 / found.passes
            passes += found.window * windows * (1 - min(1.0, spared))
            learning += sum(learning_seconds(found, each, self._scale) for each in learning_of(rows, windows))
            rest += found.rest
            once = max(once, found.once)
            largest = max(largest, found.nbytes + found.held * max(0, windows - self._scale.windows))
        ends = self._ends if self._outside or self._plan.recipe.transforms else None
        kept = streams * calibrating.stream_bytes * (len(self._blocks) + 1) * network.state
        seconds: list[tuple[str, float]] = [
            *self._reading,
            ("building the network", network.seconds),
            ("calibration passes", passes + network.entering * windows * streams),
            ("solving layers", rest + once),
            ("learning", learning),
            ("keeping activations", kept),
        ]
        if ends is not None:
            seconds.append(("embeddings and head", ends.rest + ends.window * windows))
            largest = max(largest, ends.nbytes)
        held = held_streams(self._plan, learns=self._learns)
        memory = (
            ("what stays loaded", network.warm_bytes if self._fresh else 0),
            ("the network outside its blocks", network.nbytes + 4 * self._resident),
            ("a block at work", largest),
            ("activations", held * calibrating.stream_bytes),
            ("left from reading the text", self._text_left),
        )
        notes = self._notes
        return CostEstimate(tuple(part for part in seconds if part[1] > 0), memory, calibrating.stream_bytes, notes)

    def _tuning(self, settings: Tuning) -> tuple[Parts, Bytes]:
        vocabulary = int(getattr(self._config.get_text_config(), "vocab_size", 1))
        work = tuning_workload(settings, self._calibrating, vocabulary)
        tried = max(1, min(work.step_windows, self._scale.windows))
        head = self._rates.get(PolishRates, f"loss {self._model}", lambda: self._try_loss(vocabulary))
        found = [head, *(self._polished(settings, index, tried) for index in range(len(self._blocks)))]
        steps = sum(each.step * work.step_windows + each.decode for each in found) * work.steps
        forwards = sum(each.forward for each in found) * (work.forwards + work.judged)
        forwards += sum(each.decode for each in found) * work.batches
        loads = 2 * self._network_rates.seconds + sum(2 * each.load + each.record for each in found)
        parameters = self._plan.checkpoint.parameters
        memory = (
            ("what stays loaded", self._network_rates.warm_bytes if self._fresh else 0),
            ("the original and the compressed network", 2 * 4 * parameters),
            ("what is tuned", sum(each.parts for each in found)),
            ("weights decoded for a step", sum(each.working for each in found)),
            ("kept for the way back", sum(each.saved for each in found) * work.step_windows),
            ("the original's outputs", work.cached),
            ("left from reading the text", self._text_left),
        )
        return (
            (f"{settings.key}: steps", steps),
            (f"{settings.key}: original and judging", forwards),
            (f"{settings.key}: loading", loads),
        ), memory

    @cached_property
    def _calibrating(self) -> Calibrating:
        settings = self._plan.calibration
        config = self._config.get_text_config()
        width = int(getattr(config, "hidden_size", 0))
        if settings is None:
            return Calibrating(0, self._plan.recipe.calibration.window_tokens, width)
        limit = getattr(config, "max_position_embeddings", None)
        tokens = min(settings.window_tokens, limit) if isinstance(limit, int) and limit > 0 else settings.window_tokens
        there = int(self._text_rates.tokens * len(self._text)) // tokens
        return Calibrating(max(1, min(settings.windows, there)), tokens, width)

    @cached_property
    def _text(self) -> str:
        settings = self._plan.recipe.calibration
        return read_text(settings.text) if settings.text else shipped_text()

    @cached_property
    def _text_rates(self) -> TextRates:
        return self._rates.get(TextRates, self._text_key, self._try_text)

    @cached_property
    def _text_key(self) -> str:
        return f"{self._model} {digest(self._text[:TRIED_CHARACTERS])}"

    @property
    def _reading(self) -> Parts:
        if self._plan.calibration is None:
            return ()
        rates = self._text_rates
        return (("reading the text", rates.begin + rates.character * len(self._text)),)

    @property
    def _text_left(self) -> int:
        """What this process will have more once it has read the text; nothing when it has read it before."""
        if self._plan.calibration is None:
            return 0
        rates = self._text_rates
        return 0 if self._text_key in _WARMED else rates.left

    def _try_text(self) -> TextRates:
        text = self._text[:TRIED_CHARACTERS]
        release_freed()
        before = rss_bytes()
        started = time.perf_counter()
        tokenizer = load_tokenizer(self._plan.checkpoint)
        begin = time.perf_counter() - started
        started = time.perf_counter()
        tokens = len(tokenizer(text, verbose=False)["input_ids"])
        seconds = time.perf_counter() - started
        release_freed()
        _WARMED.add(self._text_key)
        return TextRates(begin, seconds / len(text), tokens / len(text), max(0, rss_bytes() - before))

    @cached_property
    def _network_rates(self) -> NetworkRates:
        """Of the network as this plan's benchmarks need it."""
        treated = sorted(row.layer.name for row in self._outside_of(self._by_structure))
        return self._rates.get(NetworkRates, f"{self._model} {self._settings} {digest(treated)}", self._try_network)

    def _try_network(self) -> NetworkRates:
        self._network, found = self._benchmark.network(lambda network: self._chosen(network.inside))
        _WARMED.add(self._model)
        return found

    @cached_property
    def _network(self) -> Network:
        network, _ = self._benchmark.network(lambda network: self._chosen(network.inside))
        _WARMED.add(self._model)
        return network

    @cached_property
    def _benchmark(self) -> BlockBenchmark:
        return BlockBenchmark(self._plan, self._folder, self._scale)

    @cached_property
    def _scale(self) -> BenchmarkSize:
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
        if self._network_rates.whole:
            return dict.fromkeys((layer.name for layer in self._plan.checkpoint.layers), 0)
        return self._by_structure

    @cached_property
    def _blocks(self) -> list[list[PlanRow]]:
        return rows_of_blocks(self._plan, self._inside)

    @cached_property
    def _outside(self) -> list[PlanRow]:
        return self._outside_of(self._inside)

    def _outside_of(self, inside: dict[str, int]) -> list[PlanRow]:
        return [row for row in self._plan.treated_rows if row.layer.name not in inside]

    @cached_property
    def _resident(self) -> int:
        """Values of the layers that keep their weights all through the walk."""
        whole = self._network_rates.whole
        layers = self._plan.checkpoint.layers
        return sum(layer.parameters for layer in layers if whole or layer.name not in self._inside)

    @property
    def _fresh(self) -> bool:
        """Whether this process has not yet loaded what it takes to run the network."""
        return self._model not in _WARMED

    @property
    def _notes(self) -> tuple[str, ...]:
        scale, kinds = self._scale, len(self._kinds)
        notes = [f"Tried out on {plural(min(kinds, MAX_KINDS), 'block')} with {plural(scale.windows, 'window')}"]
        if kinds > MAX_KINDS:
            notes.append(f"{kinds - MAX_KINDS} more kinds of blocks are taken to be like the one most like them")
        return tuple(notes)

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
        nearest = max(kinds, key=lambda other: in_common(self._blocks[index], self._blocks[other]))
        return kinds[nearest], nearest

    def _of_kind(self, index: int) -> BlockRates:
        kind, tried = self._like(index)
        self._progress.check_cancelled()
        return self._rates.get(
            BlockRates,
            f"{self._model} {self._settings} {kind} {self._scale.windows}",
            lambda: self._benchmark.block(self._network, tried, self._blocks[tried]),
        )

    def _polished(self, settings: Tuning, index: int, windows: int) -> PolishRates:
        kind, tried = self._like(index)
        part_of = polish_benchmark.part_of(settings)
        step = settings.key if part_of is not None else Polish.key
        self._progress.check_cancelled()
        return self._rates.get(
            PolishRates,
            f"{step} {self._model} {kind} {windows} of {self._calibrating.tokens}",
            lambda: polish_benchmark.benchmark_block(
                self._benchmark, self._network, tried, self._blocks[tried], windows, part_of or tuned_part
            ),
        )

    def _try_loss(self, vocabulary: int) -> PolishRates:
        return polish_benchmark.benchmark_loss(self._network, vocabulary, self._calibrating.tokens)

    @cached_property
    def _ends(self) -> BlockRates:
        rows = [(row.layer.name, repr(row.treatment)) for row in self._outside]
        return self._rates.get(
            BlockRates,
            f"ends {self._model} {self._settings} {digest(rows)} {self._scale.windows}",
            lambda: self._benchmark.ends(self._network, self._outside),
        )


def _as_polish(step: Tuning) -> str:
    return f"Each step of '{step.title}' is taken to cost what a step of polish costs"


_WARMED: set[str] = set()
"""Networks that this process has run, and texts that it has read."""


def learning_seconds(found: BlockRates, learning: Learning, scale: BenchmarkSize) -> float:
    """Of one block, from a benchmark on fewer windows: a step and a look take as long as the windows they see."""
    tried = max(1, min(learning.step_windows, scale.windows))
    looked = len(probed_windows(scale.windows))
    steps = learning.steps * found.step * learning.step_windows / tried
    return steps + learning.looks * found.probe * learning.look_windows / looked
