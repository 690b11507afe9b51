"""Distillation: settings of the tuning step that trains codes, scales and weights on the original's outputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.language import message
from benchvise.core.methods.tuning import Tuning
from benchvise.core.settings import setting

MOST_HELD_OUT = 24
"""Samples, which are looked at after every few steps."""


@dataclass(frozen=True)
class Distil(Tuning):
    """The compressed network learns from the original as a whole; rounding passes gradients straight through.

    L = α·CE + (1 − α)·T²·KL, and the error of the hidden states behind the blocks. Codes may move; bytes stay as they
    are, and zeros of a sparse layer where they are.
    """

    key: ClassVar[str] = "distil"
    title: ClassVar[str] = "Distil"
    summary: ClassVar[str] = (
        "Train codes, scales and weights end to end on the original's outputs (quantisation-aware distillation)."
    )
    source: ClassVar[str] = (
        "Hinton et al., arXiv 1503.02531, section 2; quantisation-aware as in LSQ, arXiv 1902.08153, section 2, and "
        "QAD, arXiv 2601.20088; adapters: arXiv 2106.09685, section 4.1"
    )

    steps: int = setting(
        800, title="Steps", help="Optimiser steps.", minimum=1, maximum=100_000, suggestions=(200, 800, 3200)
    )
    batch_windows: int = setting(4, title="Batch", help="Samples in a step.", unit="samples", minimum=1, maximum=4096)
    learning_rate: float = setting(
        0.004,
        title="Learning rate",
        help="Of codes, in steps of their grid; of weights that stay and of values between zeros, a tenth of it, as a "
        "share of their mean size. It rises at first, then falls to zero along a cosine.",
        minimum=1e-8,
        maximum=1.0,
        suggestions=(0.002, 0.004, 0.01),
    )
    scale_rate: float = setting(
        0.25,
        title="Rate of scales",
        help="Of scales, zero points, norms and biases, as a share of the learning rate; 0 leaves them as they are.",
        minimum=0.0,
        maximum=10.0,
    )
    trains: Literal["treated", "adapters", "scales", "all"] = setting(
        "treated",
        title="Trains",
        help="What may change: codes, values and scales of compressed layers, and norms; the same with changes of low "
        "rank, which take less memory and are folded into the codes; scales and norms alone; or all, with the "
        "embeddings and heads that are kept.",
        choices={
            "treated": "Compressed layers and norms",
            "adapters": "Folded adapters (LoRA) and norms",
            "scales": "Scales and norms",
            "all": "Everything",
        },
    )
    rank: int = setting(
        16,
        title="Adapter rank",
        help="Of the changes of each weight.",
        minimum=1,
        maximum=4096,
        suggestions=(8, 16, 64),
        when=("trains", ("adapters",)),
    )
    warm_up: float = setting(
        0.02, title="Warm-up", help="Part of the steps over which the rate rises.", minimum=0.0, maximum=0.9
    )
    hard_labels: float = setting(
        0.0,
        title="Hard labels",
        help="α: how much the text's own next tokens count beside the original's distribution.",
        minimum=0.0,
        maximum=1.0,
    )
    temperature: float = setting(
        1.0, title="Temperature", help="T: both distributions are flattened by it.", minimum=0.1, maximum=100.0
    )
    hidden_states: float = setting(
        0.0,
        title="Hidden states",
        help="How much the hidden states behind the blocks count beside the distribution: their squared error, as a "
        "share of the original's squares.",
        minimum=0.0,
        maximum=1000.0,
    )
    text_samples: int = setting(
        0,
        title="Samples of text",
        help="Cut from the calibration text, each of the sequence length; 0 for as many as the steps can use.",
        unit="samples",
        minimum=0,
        maximum=10_000_000,
    )
    parts: int = setting(
        1,
        title="Gradient accumulation",
        help="A step's samples go through the network in so many parts, one after the other, which takes less memory.",
        minimum=1,
        maximum=4096,
    )
    look_every: int = setting(
        100,
        title="Look every",
        help="Steps between two looks at text that is not learned from; the best state is kept.",
        unit="steps",
        minimum=1,
        maximum=100_000,
    )
    patience: int = setting(
        0,
        title="Patience",
        help="So many looks without a new best end the training; 0 for never. Codes settle as the rate falls, so the "
        "best mostly comes last.",
        unit="looks",
        minimum=0,
        maximum=1000,
    )
    precision: Literal["bfloat16", "float32"] = setting(
        "bfloat16",
        title="Products",
        help="What products of the trained network are taken in; bfloat16 where the processor multiplies it faster. "
        "Weights, sums, loss and judging stay float32.",
        choices={"bfloat16": "bfloat16 where faster", "float32": "float32"},
    )

    def rate(self, step: int) -> float:
        rising = self.warm_up * self.steps
        if step + 1 < rising:
            return self.learning_rate * (step + 1) / rising
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    @property
    def refusal(self) -> str:
        if self.trains == "scales" and self.scale_rate == 0:
            return message("Nothing is left to train: 'trains' names scales and norms alone, and their rate is 0")
        return ""

    @property
    def samples(self) -> int | None:
        return self.text_samples or self.steps * self.batch_windows + MOST_HELD_OUT

    @property
    def most_held_out(self) -> int | None:
        return MOST_HELD_OUT

    @property
    def at_once(self) -> int:
        return max(1, -(-self.batch_windows // self.parts))

    @property
    def judged_every(self) -> int:
        return self.look_every

    @property
    def trains_kept(self) -> bool:
        return self.trains == "all"

    @property
    def way(self) -> str:
        kind = f"{self.trains} {self.rank}" if self.trains == "adapters" else self.trains
        return f"{kind} {self.precision}" + (" hidden states" if self.hidden_states else "")

    @property
    def halves(self) -> bool:
        return self.precision == "bfloat16"
