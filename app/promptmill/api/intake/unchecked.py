"""Rules in the formats of a batch that answers are not checked against."""

from __future__ import annotations

from typing import Final

from promptmill.ollama.answer_checks.json_schema import unchecked_in
from promptmill.ollama.text import one_line

_MOST_NAMED: Final = 20


class Unchecked:
    """Collects the regular expressions of formats that are not checked, each once."""

    def __init__(self) -> None:
        self._expressions: dict[str, None] = {}

    def see(self, schema: object) -> None:
        """Collect the expressions of a prompt's `format`, which is sound."""
        # One more than are named, for the sentence that there are more.
        if len(self._expressions) <= _MOST_NAMED:
            self._expressions.update(dict.fromkeys(unchecked_in(schema)))

    def sentences(self, of_batch: object) -> list[str]:
        """A sentence for each expression, up to 20; those of the batch's own format go first."""
        expressions = list(dict.fromkeys([*unchecked_in(of_batch), *self._expressions]))
        told = [
            f"Answers are not checked against the regular expression `{one_line(expression, 200)}`"
            " of the format: it has look-around or back-references."
            for expression in expressions[:_MOST_NAMED]
        ]
        if len(expressions) > _MOST_NAMED:
            told.append("Nor are they against further expressions of that kind.")
        return told
