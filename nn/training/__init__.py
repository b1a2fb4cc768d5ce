"""Torch7's trainer."""
