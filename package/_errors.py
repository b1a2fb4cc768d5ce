"""The error of every command; `cli.main` prints its message."""

from tapegrad.devices import TapegradError

__all__ = ["CommandError", "reason_of"]


class CommandError(TapegradError, RuntimeError):
    """A command could not do what it was asked; the message is for the user."""


def reason_of(error: Exception) -> str:
    """The message of an error for somebody in a shell: the file first, and no errno."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = error.strerror
        return f"{error.filename}: {text[:1].lower()}{text[1:]}"
    return str(error)
