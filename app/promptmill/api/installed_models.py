"""Check that the models of a batch are installed, prompt by prompt."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from promptmill.api.errors.violations import MOST_LISTED, Faults
from promptmill.api.schemas.strict import Path
from promptmill.domain.batches import BatchKind, PromptDraft
from promptmill.domain.model_names import normalise_model
from promptmill.services import models
from promptmill.services.resources import Resources

_MOST_NAMED = 10


class ModelCheck:
    """Comparison of the names in a batch with those of the installed models.

    The reader of the batch decides about the `missing` names: with `auto_pull` they are no fault.
    """

    def __init__(self, installed: Collection[str] | None = None, *, hosts: int = 1) -> None:
        """Store the installed models by the hosts' names; `hosts` is the number of hosts.

        None stands for an unknown list, with which no model counts as missing.
        """
        self._place, self._there = (
            ("the host", "there") if hosts == 1 else ("any host that answers", "on one")
        )
        self._is_known = installed is not None
        self._name_of = {normalise_model(name): name for name in installed or ()}
        self._used: set[str] = set()
        self._places: dict[str, list[Path]] = {}
        self.missing = Faults()
        """Function that receives models that are not installed."""
        self._default_is_used = False

    @property
    def used(self) -> list[str]:
        """Names of the models that the batch uses; missing models as they were sent."""
        return sorted(self._used)

    def see_prompt(self, draft: PromptDraft, path: Path) -> None:
        """Note the model of a prompt; a prompt without one uses the batch's."""
        own = draft.overrides.get("model") if draft.overrides else None
        if own is None:
            self._default_is_used = True
        else:
            self._see(own, (*path, "model"))

    def see_batch(self, model: str, path: Path) -> None:
        """Note the batch's own model after all prompts; it counts if a prompt uses it."""
        if self._default_is_used:
            self._see(model, path)

    async def refuse_those_that_only_embed(self, resources: Resources, kind: BatchKind) -> None:
        """Refuse models that cannot complete text, if a host says so, unless they are to embed.

        Must be called after all prompts.

        Raises:
            Invalid: A model cannot complete text; the error names every place.
        """
        if kind is BatchKind.EMBED:
            return
        faults = Faults()
        for model in await models.that_only_embed(resources, self._places):
            for path in self._places[model]:
                faults.add(path, only_embeds(model))
        faults.raise_if_any()

    def _see(self, model: str, path: Path) -> None:
        places = self._places.setdefault(model, [])
        if len(places) < MOST_LISTED:
            places.append(path)
        found = self._name_of.get(normalise_model(model))
        if found is None and self._is_known:
            self.missing.add(path, self._fix(model))
        self._used.add(found or model)

    def _fix(self, model: str) -> str:
        names = sorted(self._name_of.values())
        there = ", ".join(f"`{name}`" for name in names[:_MOST_NAMED]) or "none"
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        return (
            f"`{model}` is not installed on {self._place}; run `ollama pull {model}`"
            f" {self._there}, or name one that is: {there}{more}"
        )


async def require_text_models(resources: Resources, names: Sequence[str]) -> None:
    """Refuse models of a benchmark that cannot complete text, if a host says so.

    Raises:
        Invalid: A model cannot complete text; the error names every place.
    """
    refused = await models.that_only_embed(resources, names)
    faults = Faults()
    for place, name in enumerate(names):
        if name in refused:
            faults.add(("models", place), only_embeds(name))
    faults.raise_if_any()


def only_embeds(model: str) -> str:
    """Sentence for a model that cannot complete text."""
    return f"`{model}` only makes embeddings and answers no prompts; name a model that does"
