"""The loop around a step, and what it measures and saves."""
