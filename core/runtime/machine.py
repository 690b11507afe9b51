"""The machine that runs the models, in words and numbers."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

_CPUINFO = Path("/proc/cpuinfo")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_DEFAULT_CACHE_BYTES = 32 << 20
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def device_name(device: torch.device) -> str:
    """What people call the device: the GPU's or the processor's name."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    if _CPUINFO.is_file():
        for line in _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def machine_key(device: torch.device) -> str:
    """What must be the same for timings to be: device, threads, torch."""
    return f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def last_level_cache_bytes() -> int:
    """Size of the processor's largest cache; 32 MB where the system does not tell."""
    sizes = [_DEFAULT_CACHE_BYTES] if not _CACHES.is_dir() else []
    for file in _CACHES.glob("index*/size"):
        text = file.read_text(encoding="ascii").strip()
        if text[:-1].isdigit() and text[-1] in _UNITS:
            sizes.append(int(text[:-1]) * _UNITS[text[-1]])
    return max(sizes, default=_DEFAULT_CACHE_BYTES)
