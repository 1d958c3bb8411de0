"""The program `promptmill`, also run as `python -m promptmill`."""

from __future__ import annotations

import sys


def main() -> None:
    """The program's entry point.

    The version alone is printed without the command line, whose libraries take most of a
    command's start.
    """
    if sys.argv[1:] == ["--version"]:
        from promptmill.version import version  # noqa: PLC0415

        print(f"promptmill {version()}")  # noqa: T201
    else:
        from promptmill import cli  # noqa: PLC0415

        cli.main()


if __name__ == "__main__":
    main()
