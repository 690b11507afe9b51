"""What every part of the window works with."""

from __future__ import annotations

from dataclasses import dataclass

from app.document import Document
from app.jobs import Jobs
from app.problems import Problems
from app.settings.preferences import Preferences
from app.worker import EngineClient


@dataclass(frozen=True)
class Bench:
    """The engine, the document and the records about them; no widget in it."""

    client: EngineClient
    document: Document
    jobs: Jobs
    problems: Problems
    preferences: Preferences
