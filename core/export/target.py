"""What an export target declares: its texts, what it can hold, and how it is written and read back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, ClassVar

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.export.export_plan import ExportPlan, TreatmentOf
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.methods.scheme import Scheme
from benchvise.core.progress import Progress

if TYPE_CHECKING:
    from benchvise.core.weights.weights import Weights


class Target(ABC):
    """A format that named runtimes load. One class in one file; the window loads it, so torch is imported late.

    summary:     what is written; loaded_by: who loads it, in words.
    runtimes:    keys of `core.preflight.runtimes` that load the result without a conversion.
    suffix:      of the file when the target writes a single one (".gguf"); "" when it writes a folder.
    folders:     whether a target with a suffix also writes a folder, where the output's name does not end in it.
    companions:  whether a folder holds the checkpoint's tokenizer and other small files beside the weights.
    takes_dense: whether a checkpoint that nothing compressed is worth to be written so.
    as_original: whether a result without packed layers loads wherever the original checkpoint loads.
    dedicated:   whether the result is meant for its runtimes alone; "auto" for one of them takes it first.
    verified_with: what reads the result back in the tests, in words; "" when only its own bytes are compared.
    converted:   whether a runtime's own converter makes the file: its bytes are bounded before, and known afterwards.
    preference:  "auto" takes the target of the greatest preference that does not refuse; 0 is never taken.
    package:     the import name of an optional Python package that writing needs, "" for none.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    loaded_by: ClassVar[str]
    runtimes: ClassVar[tuple[str, ...]]
    suffix: ClassVar[str] = ""
    folders: ClassVar[bool] = False
    companions: ClassVar[bool] = True
    takes_dense: ClassVar[bool] = False
    as_original: ClassVar[bool] = False
    dedicated: ClassVar[bool] = False
    verified_with: ClassVar[str] = ""
    converted: ClassVar[bool] = False
    preference: ClassVar[int] = 0
    package: ClassVar[str] = ""

    @property
    def action(self) -> str:
        """What a button says that chooses the target."""
        return f"Export as {self.title}"

    def file_suffix(self, out: str | Path) -> str:
        """The suffix of the single file that is written to `out`, "" where a folder is."""
        whole = not self.folders or not str(out) or PurePath(out).suffix.lower() == self.suffix
        return self.suffix if whole else ""

    def samples(self, plan: ExportPlan) -> Mapping[str, str]:  # noqa: ARG002 - subclasses look at the plan
        """Small programs that run the result, by file name: they are written into a folder beside the weights."""
        return {}

    @property
    def problem(self) -> str:
        """Why nothing can be written on this machine, "" when it can."""
        if self.package and find_spec(self.package) is None:
            return f"Writing {self.title} needs the Python package '{self.package}', which is not installed"
        return ""

    @abstractmethod
    def plan(
        self, checkpoint: Checkpoint, treatment_of: TreatmentOf, modules: NetworkModules | None = None
    ) -> ExportPlan:
        """Decide for each layer how the target holds it, exactly; torch is not imported and no weight is read.

        modules: what the network's loader makes of the layers, None where that is not known.
        """

    def trial(self, plan: ExportPlan) -> str | None:  # noqa: ARG002 - targets that can be tried override it
        """Why the runtime's loader does not take the plan, "" when it does; None where it cannot be tried here.

        Nothing is written and no weight is read.
        """
        return None

    @property
    def rungs(self) -> tuple[Scheme, ...]:
        """The schemes that a budget is shared out over for this target; () for integers in groups."""
        return ()

    def nearest(self, scheme: Scheme, layer: Layer) -> Scheme | None:  # noqa: ARG002 - subclasses look at both
        """The scheme of about the same size that the target holds packed.

        None where it holds `scheme` itself, or nothing is near.
        """
        return None

    @abstractmethod
    def disk_bytes(self, plan: ExportPlan) -> int:
        """Exact bytes of the files that `write` makes; at most as many where they are converted.

        Raises OutputError for a dtype or a repeated name that the format cannot hold.
        """

    @abstractmethod
    def write(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        """Write the plan's tensors, their names and values as its layers give them; progress counts their bytes.

        place: an empty folder, or the path of a file that does not exist yet when the target has a suffix.
        Raises OSError as the file system does, OutputError for what the format cannot hold, CheckpointError for weights
        that cannot be read, and Cancelled.
        """

    @abstractmethod
    def verify(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> None:
        """Read back what `write` made and compare every byte of it.

        Raises RuntimeError where anything differs; otherwise as `write`.
        """

    def run(self, place: Path, plan: ExportPlan, weights: Weights, progress: Progress) -> str:  # noqa: ARG002
        """Load what `write` made in a runtime that is installed here, and compare what it computes.

        The answer is what was found, as a phrase; "" where no such runtime is installed. Raises CheckpointError where
        the runtime does not load it, RuntimeError where it computes something else, and Cancelled.
        """
        return ""
