"""`python -m benchvise`: the window and the command line."""

from __future__ import annotations

import sys

from benchvise.app.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
