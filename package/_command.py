"""What all commands share: how they are declared, with examples, and types of their arguments.

An argument that is a file says so, ``argument.complete = "file"``, for the completion of shells
(`_completion.py`), as other libraries spell it too.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence
from typing import Any

__all__ = ["Formatter", "add_command", "is_file", "natural_number", "positive_integer"]

EXAMPLES = "examples:\n"


class Formatter(argparse.HelpFormatter):
    """argparse's own, which leaves the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith(EXAMPLES):
            return textwrap.indent(text, indent)
        return super()._fill_text(text, width, indent)


def examples_text(examples: Sequence[tuple[str, str]]) -> str:
    """The end of a help page: each example a line, with what it does on the line above."""
    return EXAMPLES + "\n".join(f"  # {what}\n  {line}" for line, what in examples)


def add_command(
    commands: Any, name: str, *, help: str, description: str, examples: Sequence[tuple[str, str]]
) -> argparse.ArgumentParser:
    """Add a command to a parser's commands.

    examples: (command line, what it does)
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=examples_text(examples),
        formatter_class=Formatter,
    )
    return parser


def is_file(argument: argparse.Action) -> None:
    """Mark an argument as the name of a file."""
    argument.complete = "file"  # type: ignore[attr-defined]  # actions take attributes


def _whole_number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def positive_integer(text: str) -> int:
    """A whole number from 1 on."""
    value = _whole_number(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def natural_number(text: str) -> int:
    """A whole number from 0 on."""
    value = _whole_number(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value
