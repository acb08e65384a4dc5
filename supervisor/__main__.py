"""``python -m tars.supervisor CONFIG`` is ``tars run CONFIG``."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
