"""How much treatments of single layers increase the KL at the output."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.recipe.recipe import Treatment


@dataclass(frozen=True)
class SensitivityCell:
    """KL divergence (nats per token, mean) at the output that `treatment` of `layer` brings.

    treatment: its tag, for people; key: names it (`Treatment.key`).
    kl: infinite when the model's outputs are no numbers any more. method: how it was found, as in `MeasureSensitivity`.
    output_error: squared error of the layer's own outputs over their energy; sqnr_db: of its weight; None where they
    are not known.
    """

    layer: str
    treatment: str
    kl: float
    cached: bool = False
    method: str = "enable_one"
    output_error: float | None = None
    sqnr_db: float | None = None
    key: str = ""


@dataclass(frozen=True)
class JointMeasurement:
    """What several treated layers do at once: the sum of their single KL increases, and the KL that was measured."""

    added: float
    measured: float


@dataclass(frozen=True)
class Sensitivity:
    """All cells; `warnings` tell what could not be measured as it was asked, as sentences.

    key:              names the measurement in the workspace, for `Allocate`.
    rank_correlation: Spearman's, of fisher with measured KL increases, over `compared` cells; None without both.
    joint_effects:    what the correction pass measured.
    treatments:       those that the cells are about.
    asked:            the text, the windows and their tokens as they were asked for; None where that is not known.
    """

    cells: tuple[SensitivityCell, ...]
    tokens: int
    seconds: float
    warnings: tuple[str, ...] = ()
    key: str = ""
    rank_correlation: float | None = None
    compared: int = 0
    joint_effects: tuple[JointMeasurement, ...] = ()
    treatments: tuple[Treatment, ...] = ()
    asked: tuple[str, int, int] | None = None


@dataclass(frozen=True)
class WhatIfAnswer:
    """What another treatment would do to one layer.

    kl: at the model's output, None where the model cannot be run (`notes` say why). output_error: squared error of the
    layer's outputs on the same text over their energy. sqnr_db: None when exact. treatment: its tag; key: names it.
    """

    layer: str
    treatment: str
    sqnr_db: float | None
    bytes_after: int
    kl: float | None = None
    output_error: float | None = None
    tokens: int = 0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    key: str = ""
