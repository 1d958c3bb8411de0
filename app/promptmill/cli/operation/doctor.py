"""`promptmill doctor`: checks of an installation, with advice. It changes nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from promptmill.cli.operation.db import DatabaseUrl


def doctor(
    *,
    probe: Annotated[
        bool,
        typer.Option(
            "--probe",
            help="Also ask each host for 1, 2, 4 and 8 short answers at once, with the default"
            " model: it is loaded for that.",
        ),
    ] = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Check settings, database, hosts, workers and access, also while no service runs.

    The exit status is 0 when all is well, 1 with a warning, 2 with a failure, 3 when neither the
    database nor a host can be reached.
    """
    from promptmill.cli.service.diagnosis import diagnose  # noqa: PLC0415 - the service hangs on it

    diagnose(database_url=database_url, probe=probe)
