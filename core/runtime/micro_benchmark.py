"""A model of random weights under the clock, layer by layer: each layer meets caches, inputs and the program around it
as it would in the real one, and whatever else slows the machine slows all of them equally.

Several assignments sample turns within one micro-benchmark, so that what is compared was timed side by side.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchvise.core.progress import Progress
from benchvise.core.runtime.clock import Clock, Moment
from benchvise.core.runtime.decode import one_step, random_prompt, read_prompt
from benchvise.core.runtime.latency_target import KernelAssignment, LatencyTarget, LinearOp
from benchvise.core.runtime.linear_layers import set_module
from benchvise.core.runtime.modules import CompressedLinear
from benchvise.core.runtime.prepare import prepare, random_stored
from benchvise.core.runtime.profile import steady, working_set_bytes
from benchvise.core.runtime.quantised_inputs import InputQuantiser
from benchvise.core.runtime.skeleton import skeleton

SAMPLE_SECONDS = 0.06
MAX_TOKENS = 16
MAX_MULTIPLY_ADDS = 4_000_000_000


@dataclass(frozen=True)
class Effort:
    """How long a micro-benchmark lasts: samples of each case, and seconds for each; more where times are unsteady."""

    samples: int
    seconds_a_case: float
    unsteady_seconds_a_case: float
    most_seconds_a_case: float


THOROUGH = Effort(9, 0.5, 1.5, 6.0)
QUICK = Effort(3, 0.1, 0.1, 1.0)


@dataclass(frozen=True)
class Sample:
    """One run of one case. step_ms: a whole step, or the reading of the prompt. calls_ms: mean of each work's calls.
    rest_ms: of the step, what no call took.
    """

    step_ms: float
    rest_ms: float
    calls_ms: Mapping[LinearOp, float]


@dataclass(frozen=True)
class Case:
    """What is run in turn with others. modules: by path, with their work; linears without one give zeros at once.

    prompt: tokens of each of `batch` sequences. decodes: whether steps after the prompt are timed, or the prompt.
    """

    modules: Mapping[str, tuple[LinearOp, nn.Module]]
    batch: int
    prompt: int
    decodes: bool


class Slot(nn.Module):
    """Stands in a linear layer's place: gives zeros, or calls what it was given under the clock."""

    def __init__(self, empty: nn.Module, clock: Clock) -> None:
        super().__init__()
        self.empty = empty
        self._clock = clock
        self._holds: list[nn.Module] = []
        self.calls: list[tuple[Moment, Moment]] = []

    def hold(self, module: nn.Module | None) -> None:
        """Call `module` from now on, or nothing."""
        self._holds = [] if module is None else [module]
        self.calls = []

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [..., outputs] for x [..., inputs], in the dtype that the module held gives."""
        if not self._holds:
            return self.empty(x)  # type: ignore[no-any-return]
        module = self._holds[0]
        started = self._clock.mark()
        # The real model calls one module here, as this one calls the slot: another call would be counted twice.
        out: Tensor = module(x) if module._forward_pre_hooks else module.forward(x)
        self.calls.append((started, self._clock.mark()))
        return out


class MicroBenchmark:
    """A target's model with slots for its linear layers. Raises CheckpointError as `skeleton` does."""

    def __init__(self, target: LatencyTarget, progress: Progress, effort: Effort = THOROUGH) -> None:
        self._target = target
        self._progress = progress
        self._effort = effort
        self._clock = Clock(target.device)
        self._model = skeleton(target.architecture, target.dtype, target.device)
        self._slots: dict[str, Slot] = {}
        self._made: dict[LinearOp, list[nn.Module]] = {}
        for linear in target.linears:
            slot = Slot(self._model.get_submodule(linear.path), self._clock)
            set_module(self._model, linear.path, slot)
            self._slots[linear.path] = slot

    def modules(
        self, assignment: KernelAssignment, inputs: int, without: int = -1
    ) -> dict[str, tuple[LinearOp, nn.Module]]:
        """Modules of random weights for the assignment, as many different ones as meet the caches as all would.

        Where that would take long for so many inputs, only some linears get one, but one for each kernel and shape.
        without: a linear that gets none.
        """
        share = working_set_bytes(sum(work.weight_bytes for work in assignment)) / max(
            1, sum(w.weight_bytes for w in assignment)
        )
        amount = inputs * sum(work.multiply_adds for work in assignment)
        active = min(1.0, MAX_MULTIPLY_ADDS / max(1, amount))
        counts = Counter(work for index, work in enumerate(assignment) if index != without)
        seen: Counter[LinearOp] = Counter()
        found: dict[str, tuple[LinearOp, nn.Module]] = {}
        for index, (linear, work) in enumerate(zip(self._target.linears, assignment, strict=True)):
            if index == without:
                continue
            wanted = max(1, round(counts[work] * active))
            copies = min(wanted, max(1, math.ceil(counts[work] * share)))
            number, seen[work] = seen[work], seen[work] + 1
            if (number * wanted) % counts[work] >= wanted:
                continue
            several = self._made.setdefault(work, [])
            if len(several) < copies:
                self._progress.check_cancelled()
                several.append(self._module(work))
            found[linear.path] = (work, several[number % min(copies, len(several))])
        return found

    @torch.inference_mode()
    def run(self, cases: Sequence[Case]) -> list[list[Sample]]:
        """Samples of each case, in turns. Raises Cancelled between samples."""
        samples: list[list[Sample]] = [[] for _ in cases]
        tokens = [self._tokens(case) for case in cases]
        started = time.perf_counter()
        while not self._enough(samples, time.perf_counter() - started):
            for found, case, count in zip(samples, cases, tokens, strict=True):
                self._progress.check_cancelled()
                found.append(self._sample(case, count))
        return samples

    def _enough(self, samples: list[list[Sample]], seconds: float) -> bool:
        least = self._effort
        if len(samples[0]) < 3:
            return False
        if seconds >= least.most_seconds_a_case * len(samples):
            return True
        wanted = least.seconds_a_case
        if not all(steady([sample.step_ms for sample in found]) for found in samples):
            wanted = least.unsteady_seconds_a_case
        return len(samples[0]) >= least.samples and seconds >= wanted * len(samples)

    def _tokens(self, case: Case) -> int:
        """How many tokens make a sample; the case is warm afterwards."""
        self._sample(case, 1)
        once = self._sample(case, 1).step_ms / 1000
        return max(1, min(self.room(case.prompt), int(SAMPLE_SECONDS / max(once, 1e-6))))

    def room(self, prompt: int) -> int:
        """Tokens of a sample at most that the model knows positions for after the prompt."""
        limit = self._target.architecture.max_positions
        return MAX_TOKENS if limit is None else max(1, min(MAX_TOKENS, limit - prompt - 1))

    def _sample(self, case: Case, tokens: int) -> Sample:
        prompt = random_prompt(2, case.prompt, self._target.device, case.batch)
        if not case.decodes:
            self._fill(case)
            self._clock.settle()
            first = self._clock.mark()
            read_prompt(self._model, prompt)
            return self._result(case, first, self._clock.mark(), 1)
        self._empty()
        cache, fresh = read_prompt(self._model, prompt)
        self._fill(case)
        cache, fresh = one_step(self._model, cache, fresh)  # the real prompt would have brought the weights into caches
        self._fill(case)
        self._clock.settle()
        first = self._clock.mark()
        for _ in range(tokens):
            cache, fresh = one_step(self._model, cache, fresh)
        return self._result(case, first, self._clock.mark(), tokens)

    def _result(self, case: Case, first: Moment, last: Moment, steps: int) -> Sample:
        self._clock.settle()
        sums: dict[LinearOp, float] = {}
        counts: Counter[LinearOp] = Counter()
        for path, (work, _) in case.modules.items():
            calls = self._slots[path].calls
            sums[work] = sums.get(work, 0.0) + sum(self._clock.ms(*call) for call in calls)
            counts[work] += len(calls)
        whole = self._clock.ms(first, last)
        return Sample(
            whole / steps,
            (whole - sum(sums.values())) / steps,
            {work: total / counts[work] for work, total in sums.items() if counts[work]},
        )

    def _fill(self, case: Case) -> None:
        for path, slot in self._slots.items():
            entry = case.modules.get(path)
            slot.hold(None if entry is None else entry[1])

    def _empty(self) -> None:
        for slot in self._slots.values():
            slot.hold(None)

    def _module(self, work: LinearOp) -> nn.Module:
        dtype, device = self._target.dtype, self._target.device
        if work.treatment.keeps:
            dense = nn.Linear(work.columns, work.rows, bias=False, dtype=dtype, device=device)
            return dense.requires_grad_(False)
        stored = random_stored(work.treatment, work.rows, work.columns, dtype)
        module = CompressedLinear(prepare(stored, work.treatment, work.rows, work.columns, dtype, device))
        inputs = work.treatment.activations
        if inputs is not None:
            scale = None if inputs.mode == "dynamic" else torch.ones(1, device=device)
            module.register_forward_pre_hook(InputQuantiser(inputs, scale))
        return module
