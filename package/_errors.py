"""What a command reports when it cannot be done: raised by every command, told by `cli.main`."""

from tapegrad.devices import TapegradError

__all__ = ["CommandError"]


class CommandError(TapegradError):
    """What a command could not do, told to the user as one message."""
