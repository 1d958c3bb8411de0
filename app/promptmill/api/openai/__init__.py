"""The OpenAI dialect under `/v1`: files, batches and chat for clients written for OpenAI."""

from promptmill.api.openai.application import openai_dialect as openai_dialect
