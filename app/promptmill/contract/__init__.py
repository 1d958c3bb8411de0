"""The records that go over HTTP: what the service documents is what the client returns."""
