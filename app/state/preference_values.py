"""What a person may choose once and for all: declared as settings, so that form, storage and check follow."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.language import LANGUAGES
from benchvise.core.settings import setting


@dataclass(frozen=True)
class PreferenceValues:
    """Names of the fields are keys of the settings file."""

    language: str = setting(
        "",
        title="Language",
        help="Of the window. The command line and everything that is stored speak English.",
        choices={"": "Language of the system", **LANGUAGES},
    )
    theme: str = setting(
        "system",
        title="Theme",
        help="The colours of the window.",
        choices={"system": "After the system", "light": "Light", "dark": "Dark"},
    )
    font_percent: int = setting(
        100, title="Font size", help="Of all texts, compared with the system's font.", unit="%", minimum=75, maximum=200
    )
    sizes: str = setting(
        "decimal",
        title="Sizes in",
        help="How bytes are counted; budgets and recipes are written in powers of 1000.",
        choices={"decimal": "kB, MB, GB", "binary": "KiB, MiB, GiB"},
    )
    notify: bool = setting(
        True, title="Notify", help="Tell the system when a job of more than ten seconds ends while one looks elsewhere."
    )
    threads: int = setting(
        0,
        title="Threads",
        help="Of jobs, from the next start on; 0 for all cores but one.",
        minimum=0,
        maximum=1024,
    )
    device: str = setting(
        "auto",
        title="Device",
        help="Where models run, from the next start on.",
        choices={"auto": "GPU where there is one", "cpu": "CPU"},
    )
    memory_gb: float = setting(
        0.0,
        title="Memory limit",
        help="What the pre-flight check takes for this machine's memory, from the next start on; 0 for all there is.",
        unit="GB",
        minimum=0.0,
        maximum=100_000.0,
    )
    cluster: str = setting(
        "",
        title="Cluster",
        help="The Ray cluster that computes layers which stand for themselves: its address, or auto for that of this "
        "machine; nothing for this program alone.",
    )
