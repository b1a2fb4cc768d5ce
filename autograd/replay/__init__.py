"""Replay: a step recorded once as a list of calls, and run again."""
