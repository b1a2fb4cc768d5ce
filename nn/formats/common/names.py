"""The names that a file may give to attributes, and the names of classes that a caller passes.

An attribute of an instance hides the method of its class that has the same name, so a stranger's
file may not name the methods that run a module.  The list of these methods is fixed since version 1
of our format.  If it were "the methods of `Module` today", each method added to `Module` could make
an older file unreadable.  A name that a class declares in `keeps` is always allowed.  A name that
hides a newer method, or a layer's own, harms only its own module: nothing in a file is code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tapegrad.nn.core.own import is_own
from tapegrad.nn.core.part import holds_state
from tapegrad.nn.core.state import kept_names
from tapegrad.nn.core.transient import NOT_KEPT

__all__ = ["PROTOCOL", "attribute_name", "may_be_attribute", "names_of_classes"]

NOT_CLASSES = (
    "classes takes a list of classes, classes=[MyLayer], or a mapping from the names in the file; "
    "found {found:.80}"
)

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


# Results of calls, and names that people give to layers: a file may have layers of their classes.
_RESULTS = ("output", "gradInput")


def may_be_attribute(cls: type, name: str, value: object = None) -> bool:
    """Whether a file may give an instance of `cls` an attribute of this name and value."""
    if name in _RESULTS:
        return name in kept_names(cls) or (not is_own(cls) and holds_state(value))
    if not name.isidentifier() or name.startswith("__") or name in NOT_KEPT:
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


def names_of_classes(classes: Iterable[type] | Mapping[str, type]) -> dict[str, type]:
    """Return the classes that a caller passes to `load` or `save`, by their names in files.

    A mapping says the names.  A class without one is called by its own, alone and, which counts
    more when it is saved, with "nn." in front.
    Raises TypeError for anything but classes.
    """
    if isinstance(classes, Mapping):
        return dict(classes)
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise TypeError(NOT_CLASSES.format(found=repr(classes)))
    classes = list(classes)
    if wrong := [cls for cls in classes if not isinstance(cls, type)]:
        raise TypeError(NOT_CLASSES.format(found=repr(wrong[0])))
    return {name: cls for cls in classes for name in (cls.__name__, f"nn.{cls.__name__}")}
