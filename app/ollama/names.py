"""Names of models, for those who talk to Ollama; see `app.domain.model_names`."""

from __future__ import annotations

from app.domain.model_names import normalise_model

__all__ = ["normalise_model"]
