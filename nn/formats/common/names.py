"""Which names a file may give to attributes.

An attribute in an instance hides the method of its class that has the same name, so a file from a
stranger may not name the methods by which a module is run.  Which these are is written down, and
fixed with version 1 of our format: were it "whatever `Module` has today", then each method that is
added to `Module` could make a file unreadable that was saved before.  What a class declares
(`keeps`) is allowed whatever methods there are; and a name that hides a newer or a layer's own
method does no harm but to the module that has it, since nothing in a file is code.
"""

from __future__ import annotations

from collections.abc import Mapping

from tapegrad.nn.core.run import ATTRIBUTE
from tapegrad.nn.core.state import kept_names

__all__ = ["PROTOCOL", "attribute_name", "may_be_attribute"]

# The methods and properties of Module and Criterion when version 1 was fixed.  Never add to them:
# a file may have an attribute of that name.
_PROTOCOL = """
_by_hand _checked _convert _drop_traces _freeze _gradient_of _kept_types _parameters _repr_html_
_reverse _traced accGradParameters accUpdateGradParameters apply applyToModules backward
backwardUpdate children clearState clone cpu cuda describe double evaluate findModules flatten
float forward freeze getParameters gradBias gradInput gradWeight keep listModules load_state_dict
name_of_child named_buffers named_modules named_parameters named_trainable output own_parameters
parameters random_stream replace reset save share state_dict summary to train training type
unfreeze updateGradInput updateOutput updateParameters zeroGradParameters
"""
PROTOCOL = frozenset(_PROTOCOL.split())


def may_be_attribute(cls: type, name: str) -> bool:
    """Whether a file may give an instance of `cls` an attribute of this name."""
    if not name.isidentifier() or name.startswith("__") or name == ATTRIBUTE:
        return False
    if name in kept_names(cls):
        return True
    return name not in PROTOCOL and not hasattr(getattr(cls, name, None), "__set__")


def attribute_name(cls: type, name: str) -> str:
    """Return today's name of the attribute that a file written earlier may call `name`.

    A class declares its renamed attributes in `renamed`: {"kernel": "kernel_size"}.
    """
    for base in cls.__mro__:
        renamed = vars(base).get("renamed")
        if isinstance(renamed, Mapping) and name in renamed:
            return str(renamed[name])
    return name
