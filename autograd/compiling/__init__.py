"""Compiling: passes over a recorded program, and back ends that run what they made."""
