"""What a command reports when it cannot be done: raised by every command, told by `cli.main`."""

__all__ = ["CommandError"]


class CommandError(Exception):
    """What a command could not do, told to the user as one message."""
