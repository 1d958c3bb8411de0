"""Use cases of access beside the keys themselves: sessions of browsers."""
