"""Width pruning of feed-forward parts: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.methods.surgery import Surgery
from benchvise.core.settings import setting


@dataclass(frozen=True)
class PruneChannels(Surgery):
    """Every feed-forward part loses the same number of its inner channels; those that stay make good what is lost."""

    key: ClassVar[str] = "prune_channels"
    title: ClassVar[str] = "Prune feed-forward channels"
    summary: ClassVar[str] = (
        "Make feed-forward parts narrower: the run keeps the channels that calibration shows to matter."
    )
    source: ClassVar[str] = "Hassibi and Stork 1992; Frantar and Alistarh, arXiv 2208.11580, section 4"
    needs_calibration: ClassVar[bool] = True

    share: float = setting(
        0.25,
        title="Channels removed",
        help="As a share of the inner channels of each feed-forward part, the same in all blocks; less than 1.",
        minimum=0.0,
        maximum=1.0,
        suggestions=(0.125, 0.25, 0.5),
    )
    multiple: int = setting(
        32,
        title="Multiple of",
        help="How many stay is rounded to a multiple of this, which kernels and groups of weights divide well by.",
        minimum=1,
        maximum=1 << 20,
        suggestions=(1, 32, 64, 128),
        unit="channels",
    )

    def left(self, width: int) -> int:
        """How many of so many channels stay: at least one multiple, if there are so many."""
        rounded = round(width * (1 - self.share) / self.multiple) * self.multiple
        return min(width, max(self.multiple, rounded))
