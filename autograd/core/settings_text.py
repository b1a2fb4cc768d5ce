"""A text for objects that are little more than their settings: EarlyStopping(patience=5)."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

__all__ = ["ShowsSettings", "settings_text"]

_PLAIN = (str, int, float, bool, type(None), PurePath)


def settings_text(instance: Any) -> str:
    """The class and the attributes that are numbers, texts and paths: Class(name=value, …)."""
    shown = ", ".join(
        f"{name}={(str(value) if isinstance(value, PurePath) else value)!r}"
        for name, value in vars(instance).items()
        if not name.startswith("_") and isinstance(value, _PLAIN)
    )
    return f"{type(instance).__name__}({shown})"


class ShowsSettings:
    """A base whose text has the settings."""

    def __repr__(self) -> str:
        return settings_text(self)
