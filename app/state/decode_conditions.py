"""For how many sequences, after how many tokens, and on which machine decoding is forecast."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.language import tr
from benchvise.core.protocol.requests import ForecastLatency

_DEFAULT = (ForecastLatency.batch, ForecastLatency.context)


@dataclass(frozen=True)
class Conditions:
    """profile: the file of another machine, "" for this one; machine: its name."""

    batch: int = ForecastLatency.batch
    context: int = ForecastLatency.context
    profile: str = ""
    machine: str = ""

    @property
    def are_default(self) -> bool:
        """Whether measurements are made under the same conditions."""
        return self == Conditions()

    @property
    def words(self) -> str:
        """As part of a sentence."""
        sequences = tr("one sequence") if self.batch == 1 else tr("{batch} sequences side by side", batch=self.batch)
        return tr("{sequences} after {context:,} tokens", sequences=sequences, context=self.context)

    @property
    def short(self) -> str:
        """What differs from the defaults, in a few characters."""
        amount = [self.amount] if (self.batch, self.context) != _DEFAULT else []
        return ", ".join([self.machine] * bool(self.machine) + amount)

    @property
    def amount(self) -> str:
        """Sequences × tokens."""
        return f"{self.batch:,} × {self.context:,}"
