"""How the inputs of a layer are quantised while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.settings import setting

INPUT_SCALE = "input_scale"
"""The stored tensor that holds a fixed scale."""


@dataclass(frozen=True)
class Activations:
    """Inputs in 8 bits: scales found anew for each token, or once from calibration text by an observer.

    Static scales are stored with the layer, one for the whole tensor.
    Sources: dynamic per token as in ZeroQuant, arXiv 2206.01861, section 4.2; entropy observer as in TensorRT's
    calibration (Migacz, GTC 2017).
    """

    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("a{format}"),
        word("static", mode="static"),
        word("dynamic", mode="dynamic"),
        word("{observer}"),
        word("percentile {percentile}%", observer="percentile"),
        word("moving_average {momentum}", observer="moving_average"),
    )

    format: Literal["int8", "fp8"] = setting(
        "int8",
        title="Format",
        help="Whole numbers, or 8-bit floats (E4M3).",
        choices={"int8": "INT8", "fp8": "FP8 E4M3"},
    )
    mode: Literal["dynamic", "static"] = setting(
        "dynamic",
        title="Scales",
        help="Found for each token while the layer runs, or fixed beforehand from calibration text.",
        choices={"dynamic": "Per token, dynamic", "static": "Fixed, calibrated"},
    )
    observer: Literal["minmax", "moving_average", "percentile", "mse", "entropy"] = setting(
        "minmax",
        title="Observer",
        help="How the fixed range is chosen from what calibration shows.",
        choices={
            "minmax": "Least and greatest",
            "moving_average": "Moving average of the extremes",
            "percentile": "Percentile",
            "mse": "Least squared error",
            "entropy": "Least KL of histograms",
        },
        when=("mode", ("static",)),
    )
    percentile: float = setting(
        99.99,
        title="Percentile",
        help="Of the magnitudes; what lies beyond is clipped.",
        unit="%",
        minimum=50.0,
        maximum=100.0,
        when=("observer", ("percentile",)),
    )
    momentum: float = setting(
        0.9,
        title="Momentum",
        help="How much of the average stays with each new batch.",
        minimum=0.0,
        maximum=0.999,
        when=("observer", ("moving_average",)),
    )

    @property
    def tag(self) -> str:
        """A short addition to a treatment's tag."""
        if self.mode == "dynamic":
            return f"a{self.format}"
        detail = {"percentile": f" {self.percentile:g}%", "moving_average": f" {self.momentum:g}"}.get(
            self.observer, ""
        )
        return f"a{self.format} static {self.observer}{detail}"

    @property
    def needs_calibration(self) -> bool:
        return self.mode == "static"

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:  # noqa: ARG002 - the same for every layer
        """The tensors stored with the layer: nothing when scales are found while it runs."""
        return (StoredTensor(INPUT_SCALE, "float32", (1,)),) if self.mode == "static" else ()
