"""What a compressed checkpoint may cost, as people say it: "4.25bpw", "6GB", "6GB@8192", "12ms", "kl=0.02"."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from benchvise.core.errors import RecipeError

BITS, BYTES, MEMORY, LATENCY, DIVERGENCE = "bits_per_weight", "bytes", "memory", "latency", "kl"
KINDS = (BITS, BYTES, MEMORY, LATENCY, DIVERGENCE)

_SIZE = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_WORDS = re.compile(
    r"(?P<kl>kl\s*=)?\s*(?P<number>\d*\.?\d+(?:e-?\d+)?)\s*(?P<unit>[a-z]*)\s*(?:@\s*(?P<context>\d+))?", re.I
)


@dataclass(frozen=True)
class Budget:
    """kind and value: bits per weight over the layers that are allocated, bytes of the whole checkpoint, bytes of
    memory while decoding after `context` tokens, milliseconds per decoded token, or KL in nats per token.
    """

    kind: str
    value: float
    context: int = 0

    @property
    def words(self) -> str:
        """As `parse_budget` reads it."""
        if self.kind == DIVERGENCE:
            return f"kl={self.value:g}"
        if self.kind == BITS:
            return f"{self.value:g}bpw"
        if self.kind == LATENCY:
            return f"{self.value:g}ms"
        at = f"@{self.context}" if self.kind == MEMORY else ""
        unit, size = next(((u, s) for u, s in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)) if self.value >= s), ("B", 1.0))
        return f"{self.value / size:.12g}{unit}{at}"


def parse_budget(words: str) -> Budget:
    """Raises RecipeError for what is no budget."""
    found = _WORDS.fullmatch(words.strip())
    if found is not None and float(found["number"]) == 0:
        raise RecipeError(f"'{words}' leaves nothing", where="--budget", remedy="Ask for more than 0.")
    if found is not None:
        value, unit = float(found["number"]), found["unit"].upper()
        if math.isfinite(value) and value > 0:
            if found["kl"]:
                if not unit and found["context"] is None:
                    return Budget(DIVERGENCE, value)
            elif unit in ("BPW", "MS") and found["context"] is None:
                return Budget(BITS if unit == "BPW" else LATENCY, value)
            elif unit.endswith("B") and unit[:-1] in _SIZE:
                size = value * _SIZE[unit[:-1]]
                return Budget(BYTES, size) if found["context"] is None else Budget(MEMORY, size, int(found["context"]))
    raise RecipeError(
        f"'{words}' is no budget",
        where="--budget",
        remedy="Say bits per weight (4.25bpw), a size (6GB), memory at a context length (6GB@8192), "
        "time per decoded token (12ms) or divergence (kl=0.02).",
    )
