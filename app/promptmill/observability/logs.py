"""Log lines: a sentence, a stable `action`, and ids; for people or as JSON. They go to stderr."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from os import getpid
from socket import gethostname
from types import TracebackType
from typing import cast

import structlog

from promptmill.observability.stderr import make_stderr_expendable
from promptmill.version import version

_LONGEST_MESSAGE = 200
"""Characters of an error's own words in the log."""

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logging(*, level: str, as_json: bool) -> None:
    """Set up structlog for the process; the standard library's warnings come out the same way.

    From here on no line on stderr can fail.
    """
    make_stderr_expendable()
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=0,
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(_told),
    ]
    if as_json:
        # Lines of many machines come together where they are read by programs.
        shared.insert(0, _of_this_process(version(), f"{gethostname()}-{getpid()}"))
    else:
        shared.append(_make_printable)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        foreign_pre_chain=shared,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.getLevelNamesMapping()[level.upper()], logging.WARNING))


def _of_this_process(version: str, instance: str) -> structlog.types.Processor:
    def add(
        logger: structlog.types.WrappedLogger, name: str, line: structlog.types.EventDict
    ) -> structlog.types.EventDict:
        del logger, name
        return {"version": version, "instance": instance, **line}

    return add


def _make_printable(
    logger: structlog.types.WrappedLogger, name: str, line: structlog.types.EventDict
) -> structlog.types.EventDict:
    """Escape what is no printable character: a path may hold what a terminal takes for commands."""
    del logger, name
    for field, value in line.items():
        if isinstance(value, str) and not value.isprintable():
            kept = "\n\t" if field == "exception" else ""
            line[field] = "".join(
                each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in value
            )
    return line


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """The logger of the process."""
    return structlog.get_logger()


def _told(exc_info: _ExcInfo) -> str:
    return _traceback(exc_info[1])


def _traceback(error: BaseException) -> str:
    """Where an error and its causes came from, and how the message of each begins.

    Without the values of variables, and of a message no more than the start of its first line: what
    a database adds to it repeats the row that it refused, and with it prompts and answers.
    """
    parts: list[str] = []
    seen: set[int] = set()
    latest: BaseException | None = error
    while latest is not None and id(latest) not in seen:
        seen.add(id(latest))
        message = "".join(traceback.format_exception_only(latest)).splitlines()[0]
        inner: Sequence[BaseException] = (
            cast("BaseExceptionGroup[BaseException]", latest).exceptions
            if isinstance(latest, BaseExceptionGroup)
            else ()
        )
        parts.append(
            "Traceback (most recent call last):\n"
            + "".join(traceback.format_tb(latest.__traceback__))
            + message[:_LONGEST_MESSAGE]
            + "".join(f"\n\nOne of this group:\n\n{_traceback(each)}" for each in inner)
        )
        latest = latest.__cause__ or (None if latest.__suppress_context__ else latest.__context__)
    return "\n\nAfter this one came:\n\n".join(reversed(parts))
