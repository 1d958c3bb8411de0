"""Request models: pydantic models that read strictly and are shown in OpenAPI."""
