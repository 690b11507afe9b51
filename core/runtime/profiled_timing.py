"""How long a model's parts would take on another machine, from the profile that was measured there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import UserError
from benchvise.core.protocol.results import Estimate, LinearTime, MachineProfile, RestTime
from benchvise.core.runtime.latency_target import KernelAssignment, LatencyTarget, LinearOp, latency_target_of
from benchvise.core.runtime.local_timing import StepTimes

MIN_DOUBT = 0.25
"""No forecast for another machine has a narrower range."""

Floats = NDArray[np.float64]


class ProfiledTiming:
    """Times on the machine of a profile.

    Linear layers: what was timed there in exactly that size is taken as it is; else the logarithm of the time is
    interpolated linearly in the logarithms of the bytes read and of the multiply-adds, among layers on the same kernel.
    Beyond the sizes timed, time grows at most in proportion to either.

    The rest of a step: a fixed part, one for each block, one for each value of the residual stream, and one for each
    value of the keys that attention reads (of each prompt token its own number of them), fitted without negative parts
    and with equal weight on relative errors to models in the same dtype, where there are any; scaled to what was timed
    of the very model where the profile has that.
    """

    other_machine = True

    def __init__(self, target: LatencyTarget, profile: MachineProfile) -> None:
        self.machine = profile.machine
        self._target = target
        self._profile = profile
        self.doubt = max(MIN_DOUBT, _left_out_error(profile.linears))

    def decoding(self, casts: Sequence[KernelAssignment], batch: int, context: int) -> StepTimes:
        """As `LocalTiming.decoding`."""
        linears = tuple(self._times(cast, batch) for cast in casts)
        return StepTimes(self._rest(batch, context, 0), linears)

    def prefill(self, casts: Sequence[KernelAssignment], batch: int, prompt: int) -> StepTimes:
        """As `LocalTiming.prefill`."""
        linears = [list(self._times(cast, batch * prompt)) for cast in casts]
        head = self._target.head
        if head >= 0 and self._target.last_alone:
            for times, cast in zip(linears, casts, strict=True):
                times[head] = self._linear(cast[head], batch)
        return StepTimes(self._rest(batch, 0, prompt), tuple(tuple(times) for times in linears))

    def _times(self, cast: KernelAssignment, inputs: int) -> tuple[Estimate, ...]:
        known = {work: self._linear(work, inputs) for work in set(cast)}
        return tuple(known[work] for work in cast)

    def _linear(self, work: LinearOp, inputs: int) -> Estimate:
        samples = _similar(self._profile.linears, work, self._target.dtype_name)
        if not samples:
            raise UserError(
                f"The profile of {self.machine} has no layer on '{work.route}'",
                where=self._profile.file,
                remedy="Write it anew there with `benchvise profile --out FILE`, and --treatment for what is missing.",
            )
        for sample in samples:
            if (sample.rows, sample.columns, sample.tokens) == (work.rows, work.columns, inputs):
                return Estimate(sample.ms, sample.low_ms, sample.high_ms)
        value = predicted(samples, work.weight_bytes, inputs)
        return Estimate(value, value / (1 + self.doubt), value * (1 + self.doubt))

    def _rest(self, batch: int, context: int, prompt: int) -> Estimate:
        similar = [rest for rest in self._profile.rests if bool(rest.prompt) == bool(prompt)]
        similar = [rest for rest in similar if rest.dtype == self._target.dtype_name] or similar
        if not similar:
            raise UserError(
                f"The profile of {self.machine} has no timings of {'prompts' if prompt else 'decoding'}",
                where=self._profile.file,
                remedy="Write it anew there with `benchvise profile --out FILE`.",
            )
        blocks, hidden, keys = widths(self._target)
        asked = RestTime(
            self._target.digest,
            self._target.dtype_name,
            blocks,
            hidden,
            keys,
            batch,
            context,
            prompt,
            1.0,
        )
        parts = fitted_parts(similar)
        own = [rest.ms / float(features(rest) @ parts) for rest in similar if rest.model == asked.model]
        value = float(features(asked) @ parts) * (float(np.median(own)) if own else 1.0)
        return Estimate(value, value / (1 + self.doubt), value * (1 + self.doubt))


def latency_target_elsewhere(checkpoint: Checkpoint, profile: MachineProfile) -> LatencyTarget:
    """The checkpoint's model as the profile's machine would run it."""
    return latency_target_of(checkpoint, torch.device(profile.device), triton=profile.triton)


def widths(target: LatencyTarget) -> tuple[int, int, int]:
    """Blocks, width of the residual stream, and width of the keys of all heads together."""
    config = target.architecture.config.get_text_config()
    hidden = int(config.hidden_size)
    heads = int(getattr(config, "num_attention_heads", 1) or 1)
    shared = int(getattr(config, "num_key_value_heads", None) or heads)
    width = int(getattr(config, "head_dim", None) or hidden // heads)
    return int(config.num_hidden_layers), hidden, shared * width


def features(rest: RestTime) -> Floats:
    """What the rest of a step is in proportion to, float64 [4]."""
    inputs = rest.batch * max(1, rest.prompt)
    read = inputs * (rest.prompt or rest.context)
    return np.array([1.0, rest.blocks, rest.blocks * inputs * rest.hidden, rest.blocks * read * rest.keys], np.float64)


def fitted_parts(rests: Sequence[RestTime]) -> Floats:
    """Milliseconds for each feature, float64 [4], none negative."""
    rows = np.array([features(rest) / rest.ms for rest in rests])
    size = np.maximum(rows.max(axis=0), 1e-300)
    parts: Floats = nnls(rows / size, np.ones(len(rests)))[0] / size
    return parts


def predicted(samples: Sequence[LinearTime], weight_bytes: int, inputs: int) -> float:
    """Milliseconds of a layer that reads so many bytes, for so many inputs, from others on the same kernel."""
    counts = sorted({sample.tokens for sample in samples})
    curve = []
    for count in counts:
        some = [sample for sample in samples if sample.tokens == count]
        sizes = sorted({sample.weight_bytes for sample in some})
        times = [np.mean([np.log(s.ms) for s in some if s.weight_bytes == size]) for size in sizes]
        curve.append(_line(np.log(sizes), np.array(times), float(np.log(weight_bytes))))
    return float(np.exp(_line(np.log(counts), np.array(curve), float(np.log(inputs)))))


def _line(x: Floats, y: Floats, at: float) -> float:
    """y at `at`: linear between neighbours; beyond the ends on with the last slope, held between 0 and 1."""
    if len(x) == 1:
        return float(y[0]) + max(0.0, at - float(x[0]))
    if at < x[0]:
        return float(y[0]) + (at - float(x[0])) * float(np.clip((y[1] - y[0]) / (x[1] - x[0]), 0, 1))
    if at > x[-1]:
        return float(y[-1]) + (at - float(x[-1])) * float(np.clip((y[-1] - y[-2]) / (x[-1] - x[-2]), 0, 1))
    return float(np.interp(at, x, y))


def _similar(samples: Sequence[LinearTime], work: LinearOp, dtype: str) -> list[LinearTime]:
    """Samples on the work's kernel that tell most about it: of the same scheme, or with nearly as many bits; in models
    of the same dtype where there are any. For a dense layer those in any dtype.
    """
    kernel = [sample for sample in samples if sample.route == work.route or (work.dense and sample.key == work.key)]
    bits = work.weight_bytes / work.multiply_adds
    far = {sample.key: abs(np.log(sample.weight_bytes / (sample.rows * sample.columns) / bits)) for sample in kernel}
    nearest = work.key if work.key in far else min(far, key=lambda key: far[key], default="")
    similar = [sample for sample in kernel if sample.key == nearest]
    return [sample for sample in similar if sample.dtype == dtype] or similar


def _left_out_error(samples: Sequence[LinearTime]) -> float:
    """How far off, as a fraction, four fifths of the samples are estimated at most by the others of their series."""
    errors = []
    for sample in samples:
        size = (sample.rows, sample.columns)
        series = [s for s in samples if (s.key, s.dtype) == (sample.key, sample.dtype)]
        others = [s for s in series if (s.rows, s.columns) != size]
        if len({s.weight_bytes for s in others}) > 1:
            errors.append(abs(np.log(predicted(others, sample.weight_bytes, sample.tokens) / sample.ms)))
    return float(np.expm1(np.quantile(errors, 0.8))) if errors else MIN_DOUBT
