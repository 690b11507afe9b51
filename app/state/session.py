"""What every part of the window works with."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.app.engine.client import EngineClient
from benchvise.app.state.document import Document
from benchvise.app.state.jobs import Jobs
from benchvise.app.state.preferences import Preferences
from benchvise.app.state.problems import Problems


@dataclass(frozen=True)
class Session:
    """The engine, the document and the records about them; no widget in it."""

    client: EngineClient
    document: Document
    jobs: Jobs
    problems: Problems
    preferences: Preferences
