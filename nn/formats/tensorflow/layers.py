"""Writers."""

WRITERS: dict = {}
