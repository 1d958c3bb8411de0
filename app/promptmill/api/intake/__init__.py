"""Intake of request bodies: receiving, decoding, checking."""
