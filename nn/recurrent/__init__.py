"""Layers that run over time."""
