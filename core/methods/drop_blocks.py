"""Depth pruning: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.methods.surgery import Surgery
from benchvise.core.settings import setting


@dataclass(frozen=True)
class DropBlocks(Surgery):
    """Whole blocks leave the network; those behind them move up."""

    key: ClassVar[str] = "drop_blocks"
    title: ClassVar[str] = "Drop blocks"
    summary: ClassVar[str] = "Leave whole blocks out: a shallower, faster network of the same kind."
    source: ClassVar[str] = "ShortGPT, arXiv 2403.03853, section 3; Gromov et al., arXiv 2403.17887"

    blocks: tuple[int, ...] = setting(
        (),
        title="Blocks",
        help="Numbers of the blocks to leave out, counted from 0: for example 3, 5 or 8-11.",
        empty="none",
    )
