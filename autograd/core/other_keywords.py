"""Keyword arguments of other libraries' functions: what NumPy calls them, as a note on the error.

Python itself refuses an unknown keyword, so nothing is paid where there is none.  Where code runs
that tapegrad has called, a module's forward code or a function that is differentiated, the error
passes by, and gets the note.
"""

from __future__ import annotations

import re

__all__ = ["OTHER_KEYWORDS", "note_keyword"]

NOTE = "{theirs}= is called {ours}= here, as in NumPy"
_REFUSED = re.compile(r"got an unexpected keyword argument '(\w+)'")

# PyTorch's and TensorFlow's -> NumPy's.
OTHER_KEYWORDS = {
    "dim": "axis",
    "dims": "axis",
    "keep_dims": "keepdims",
    "keepdim": "keepdims",
    "reduction_indices": "axis",
}


def note_keyword(error: BaseException) -> None:
    """Add what to write to an error for a keyword of another library, once."""
    if type(error) is not TypeError:
        return
    refused = _REFUSED.search(str(error))
    if refused is None or refused[1] not in OTHER_KEYWORDS:
        return
    note = NOTE.format(theirs=refused[1], ours=OTHER_KEYWORDS[refused[1]])
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
