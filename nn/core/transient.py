"""What calls leave on a module: transient state, which belongs in no file and is no parameter.

One object holds all of it, under one name among the module's attributes; the first value to keep
makes it.  Its slots are the only list of what is transient: a method that must remember something
between two calls gets a slot, and files, copies and conversions need no change.
A plain call, ``module(x)``, keeps nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tapegrad.nn.core.spans import Trace

__all__ = ["ATTRIBUTE", "NOT_KEPT", "TransientState", "transient_state_of", "transient_value"]

# The attribute under which a module holds its TransientState: no user's class has the name, and no
# file contains it.
ATTRIBUTE = "_tapegrad_run"

# The attributes that no file and no copy contains: this one, and the hooks (core.hooks).
NOT_KEPT = (ATTRIBUTE, "_tapegrad_hooks")


class TransientState:
    """The transient state of one module.

    output, gradInput: results of the last `forward` and `backward`; unset before the first
    trace:  the tape of the last `forward`
    target: the target of a criterion's last `forward`
    flat:   the buffers that `getParameters` made, and the arrays that lay in them then
    picks:  the indices of a max pooling's maxima, for the unpooling that refers to it
    nodes:  the nodes that describe a finished graph anew, with what they were made of
    postfix: the text by which a module without a name is told from others
    line:   the separator of lines in `toString`
    formats: the formats of inputs and outputs that `setInputFormats` and `setOutputFormats` noted
    """

    __slots__ = (
        "flat",
        "formats",
        "gradInput",
        "line",
        "nodes",
        "output",
        "picks",
        "postfix",
        "target",
        "trace",
    )

    output: Any
    gradInput: Any

    def __init__(self) -> None:
        self.trace: Trace | None = None
        self.target: Any = None
        self.flat: Any = None
        self.picks: Any = None
        self.nodes: Any = None
        self.postfix: str | None = None
        self.line: str | None = None
        self.formats: Any = None

    def copied(self) -> TransientState | None:
        """The state for a copy of the module: neither results, which may be large, nor the tape.

        None where nothing is left.
        """
        kept = (self.picks, self.postfix, self.line, self.formats)
        if kept == (None, None, None, None):
            return None
        copy = TransientState()
        copy.picks, copy.postfix, copy.line, copy.formats = kept
        return copy

    def clear(self) -> None:
        """Drop the results and the tape; parameters stay in their flat buffers."""
        self.trace = self.target = None
        for name in ("output", "gradInput"):
            if hasattr(self, name):
                delattr(self, name)

    def drop_tape(self) -> None:
        """Drop what holds old memory of parameters: the tape, and the flat buffers."""
        self.trace = self.target = self.flat = None


def transient_state_of(module: Any) -> TransientState:
    """The transient state of `module`, which is made if there was none."""
    state: TransientState | None = module._tapegrad_run
    return module.__dict__.setdefault(ATTRIBUTE, TransientState()) if state is None else state


def transient_value(module: Any, name: str) -> Any:
    """The slot `name` of the module's transient state; None if no call has set it."""
    return getattr(module._tapegrad_run, name, None)
