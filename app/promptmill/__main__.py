"""`python -m promptmill` is `promptmill`."""

from __future__ import annotations

from promptmill.cli import main

if __name__ == "__main__":
    main()
