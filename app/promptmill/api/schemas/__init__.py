"""What goes over the wire, as pydantic models: read strictly, and shown in OpenAPI."""
