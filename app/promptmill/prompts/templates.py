"""Prompt templates such as `Classify: {{ text }}`, in Jinja2's sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from promptmill.rows import UnreadableInput

ROW = "row"
"""Variable that holds the whole row, for columns like `my text`: `{{ row["my text"] }}`."""


class Template:
    """Text with column names in it, rendered for each row."""

    def __init__(self, source: str) -> None:
        """Compile a template, given as text or as `@` and the name of a file.

        Raises:
            UnreadableInput: The template has a syntax error or names no column.
        """
        # Importing Jinja2 takes a tenth of a second, so only templates import it.
        from jinja2 import StrictUndefined, TemplateError, meta  # noqa: PLC0415
        from jinja2.sandbox import SandboxedEnvironment  # noqa: PLC0415

        environment = SandboxedEnvironment(
            autoescape=False,
            undefined=StrictUndefined,
            finalize=_shown,
        )
        text = _file(source[1:]) if source.startswith("@") else source
        try:
            used = meta.find_undeclared_variables(environment.parse(text))
            self._render: Callable[..., str] = environment.from_string(text).render
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            place = f"line {line}: " if line else ""
            raise UnreadableInput(f"the template: {place}{error.message}") from None
        except RecursionError:
            raise UnreadableInput("the template is nested too deeply") from None
        self.names = frozenset(used)
        """Names that the template reads from a row, Jinja2's own functions included."""
        self.own_names = frozenset(environment.globals)
        if not self.names - self.own_names:
            raise UnreadableInput(
                "the template uses no column: write {{ text }} where the column `text` goes"
            )

    def render(self, values: Mapping[str, Any]) -> str:
        """Render the template for one row.

        Raises:
            ValueError: The template fails for this row; the message says why.
        """
        try:
            return self._render(values)
        # A template runs the user's expressions, which may raise any error.
        except Exception as error:  # noqa: BLE001
            raise ValueError(f"the template fails: {error or type(error).__name__}") from None


def _shown(value: object) -> object:
    return "" if value is None else value


def _file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UnreadableInput(f"the template cannot be read from {name}: {told}") from None
