"""Every command, in the order of the work."""

from __future__ import annotations

from benchvise.app.cli.command import Subcommand
from benchvise.app.cli.commands.check import CHECK
from benchvise.app.cli.commands.compress import COMPRESS
from benchvise.app.cli.commands.convert import CONVERT
from benchvise.app.cli.commands.diff import DIFF
from benchvise.app.cli.commands.evaluate import EVALUATE
from benchvise.app.cli.commands.export import EXPORT
from benchvise.app.cli.commands.forecast import FORECAST
from benchvise.app.cli.commands.generate import GENERATE
from benchvise.app.cli.commands.histogram import HISTOGRAM
from benchvise.app.cli.commands.inspect import INSPECT
from benchvise.app.cli.commands.latency import LATENCY
from benchvise.app.cli.commands.methods import METHODS
from benchvise.app.cli.commands.plan import PLAN
from benchvise.app.cli.commands.presets import PRESETS
from benchvise.app.cli.commands.profile import PROFILE
from benchvise.app.cli.commands.report import REPORT, REPRODUCE
from benchvise.app.cli.commands.runs import RUNS
from benchvise.app.cli.commands.screenshot import SCREENSHOT
from benchvise.app.cli.commands.sensitivity import SENSITIVITY
from benchvise.app.cli.commands.spectrum import SPECTRUM

COMMANDS: dict[str, Subcommand] = {
    command.name: command
    for command in (
        INSPECT,
        HISTOGRAM,
        SPECTRUM,
        SENSITIVITY,
        PRESETS,
        METHODS,
        PLAN,
        CHECK,
        COMPRESS,
        RUNS,
        EVALUATE,
        GENERATE,
        LATENCY,
        FORECAST,
        PROFILE,
        EXPORT,
        CONVERT,
        DIFF,
        REPORT,
        REPRODUCE,
        SCREENSHOT,
    )
}
