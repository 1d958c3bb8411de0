"""Records of the HTTP API: the service documents and sends them, and the client returns them."""
