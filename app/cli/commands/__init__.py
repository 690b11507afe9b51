"""Every command, in the order of the work."""

from __future__ import annotations

from app.cli.command import Command
from app.cli.commands.check import CHECK
from app.cli.commands.compress import COMPRESS
from app.cli.commands.evaluate import EVALUATE
from app.cli.commands.export import EXPORT
from app.cli.commands.forecast import FORECAST
from app.cli.commands.generate import GENERATE
from app.cli.commands.histogram import HISTOGRAM
from app.cli.commands.inspect import INSPECT
from app.cli.commands.latency import LATENCY
from app.cli.commands.methods import METHODS
from app.cli.commands.plan import PLAN
from app.cli.commands.presets import PRESETS
from app.cli.commands.profile import PROFILE
from app.cli.commands.runs import RUNS
from app.cli.commands.screenshot import SCREENSHOT
from app.cli.commands.sensitivity import SENSITIVITY

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        INSPECT,
        HISTOGRAM,
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
        SCREENSHOT,
    )
}
