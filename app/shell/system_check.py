"""Check for the system libraries that Qt needs, before Qt is imported; install them where that is possible.

Run as `python -m benchvise.app.shell.system_check`. Exit code: 0 when all are there, 1 with the names of the packages
otherwise.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

DEBIAN_PACKAGES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libfontconfig.so.1": "libfontconfig1",
    "libdbus-1.so.3": "libdbus-1-3",
    "libglib-2.0.so.0": "libglib2.0-0",
}
"""Libraries that PySide6's wheels load from the system on Linux, and the Debian or Ubuntu packages that hold them."""

DISPLAY_PACKAGES = {
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-image.so.0": "libxcb-image0",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-render-util.so.0": "libxcb-render-util0",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxcb-xinerama.so.0": "libxcb-xinerama0",
    "libxcb-xkb.so.1": "libxcb-xkb1",
}
"""Further ones for a window on an X11 display; without a display they are not needed."""


def missing_packages() -> list[str]:
    """Names of the Debian packages whose libraries cannot be loaded."""
    wanted = DEBIAN_PACKAGES | (DISPLAY_PACKAGES if os.environ.get("DISPLAY") else {})
    return [package for library, package in wanted.items() if not _loads(library)]


def main() -> int:
    if not sys.platform.startswith("linux"):
        return 0
    missing = missing_packages()
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stderr.write(f"Installing what Qt needs: {' '.join(missing)}\n")
        subprocess.run(["apt-get", "update", "-qq"], check=False, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-qq", *missing], check=False, stdout=subprocess.DEVNULL)
        missing = missing_packages()
    if missing:
        sys.stderr.write(
            "Qt needs system libraries that are not here. On Debian or Ubuntu: "
            f"sudo apt-get install {' '.join(missing)}\n"
        )
        return 1
    return 0


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
