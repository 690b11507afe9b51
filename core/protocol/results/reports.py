"""What a report of a run says, as facts: whoever reads it sees what was measured, and can do it again."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.protocol.results.judging import Evaluation, Generations
from benchvise.core.protocol.results.latency import Latency


@dataclass(frozen=True)
class ReportLayer:
    """One treated layer. kl: its KL increase alone, in nats per token, and kl_share of all layers' sum; None where the
    workspace keeps no sensitivity of it under this treatment. sha256: of the layer's record in the workspace.
    """

    name: str
    treatment: str
    bits_per_weight: float
    bytes_before: int
    bytes_after: int
    sqnr_db: float | None
    max_error: float
    kl: float | None
    kl_share: float | None
    sha256: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportHistogram:
    """Counts of a layer's values before and after, in bins of the same width from low to high."""

    layer: str
    low: float
    high: float
    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True)
class ReportExport:
    """verified: what a runtime made of the export, "" where none was asked. warnings: as sentences."""

    target: str
    bytes_on_disk: int
    files: tuple[str, ...]
    verified: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """A finished run. Paths of the machine are left out: checkpoint is the name of its folder or file.

    files: (name, sha256) of the checkpoint's weights; recipe: YAML; created: ISO; versions: (package, version);
    evaluation, latency, generations: None where they were not measured.
    """

    run: str
    checkpoint: str
    architecture: str
    files: tuple[tuple[str, str], ...]
    recipe_name: str
    recipe: str
    created: str
    bits_per_weight: float
    bytes_before: int
    bytes_after: int
    seconds: float
    peak_rss_bytes: int
    warnings: tuple[str, ...]
    layers: tuple[ReportLayer, ...]
    histograms: tuple[ReportHistogram, ...]
    evaluation: Evaluation | None
    latency: Latency | None
    generations: Generations | None
    exports: tuple[ReportExport, ...]
    versions: tuple[tuple[str, str], ...]
    machine: str
    threads: int


@dataclass(frozen=True)
class Reported:
    """A report, and how it reads in the form that was asked for. out: the file it was written to, "" for none."""

    report: Report
    text: str
    out: str = ""


@dataclass(frozen=True)
class Reproduced:
    """What carrying out a report's recipe again gave.

    same: layers whose records have the hashes of the report; different: the others, and layers that only one has.
    changes: in what this machine differs from the report's, as sentences.
    """

    run: str
    same: tuple[str, ...]
    different: tuple[str, ...]
    changes: tuple[str, ...] = ()
