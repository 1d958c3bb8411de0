"""Structured log lines on stderr, for people or as JSON: a sentence, an `action`, and ids."""

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
"""Most characters of an exception's message in the log."""

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def configure_logging(*, level: str, as_json: bool) -> None:
    """Configure structlog for the process, and route the standard library's warnings through it.

    Afterwards no write to stderr raises an error.
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
        # JSON lines are collected from many machines, so each names its process.
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
    """Escape unprintable characters: a path may hold control sequences of a terminal."""
    del logger, name
    for field, value in line.items():
        if isinstance(value, str) and not value.isprintable():
            kept = "\n\t" if field == "exception" else ""
            line[field] = "".join(
                each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in value
            )
    return line


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Logger of the process."""
    return structlog.get_logger()


def _told(exc_info: _ExcInfo) -> str:
    return _traceback(exc_info[1])


def _traceback(error: BaseException) -> str:
    """Format the traceback of an error and its causes, with the start of each message.

    The values of variables are left out, and of each message all but the start of its first line: a
    database appends the refused row to its message, and with it prompts and answers.
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
