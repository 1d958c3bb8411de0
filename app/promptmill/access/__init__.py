"""Who asks, from where, and what they may: in front of every route."""
