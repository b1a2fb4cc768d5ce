"""The error of every command; `cli.main` prints its message."""

from tapegrad.devices import TapegradError

__all__ = ["CommandError"]


class CommandError(TapegradError, RuntimeError):
    """A command could not do what it was asked; the message is for the user."""
