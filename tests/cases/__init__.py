"""How to draw an example of each operation, module, criterion and optimizer, for the laws.

The laws find their subjects by themselves (the primitive registry, `__all__` of nn and optim), and
this package finds the cases: a file for each family of the source, named as it is, holds one or
more of the tables in `TABLES`, with an entry for each name. `case_file` says which file that is.
What has no case fails the suite, and so does a case whose subject is gone or stands in another
file.

An entry is called with its `Draws` and asks them for shapes and options; arrays come from the
example's seed. `EXCEPTIONS`, (subject, law): why the law does not hold there, are strict: one that
is no longer needed fails the suite.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from tapegrad import nn, optim
from tapegrad.autograd.check import Case, operations, register_case
from tapegrad.nn import mxnet

__all__ = [
    "CRITERIONS",
    "EXCEPTIONS",
    "MODULES",
    "OPERATIONS",
    "OPTIMIZERS",
    "FILES",
    "TABLES",
    "WITHOUT_FILES",
    "WITHOUT_LAWS",
    "case_file",
    "register",
    "subject",
]

TABLES = ("OPERATIONS", "MODULES", "CRITERIONS", "OPTIMIZERS")
# Who has the subjects of a table. (Below, `nn` and `optim` are this package's own files.)
_HOMES = {"MODULES": (nn, mxnet), "CRITERIONS": (nn,), "OPTIMIZERS": (optim,)}
# Rooms whose files are families; of other rooms of nn, the room is the family.
_BY_FILE = ("autograd.ops", "nn.layers")

OPERATIONS: dict[str, object] = {}
MODULES: dict[str, object] = {}
CRITERIONS: dict[str, object] = {}
OPTIMIZERS: dict[str, object] = {}
EXCEPTIONS: dict[tuple[str, str], str] = {}
# Subjects that no law is held against, with the reason.
WITHOUT_LAWS = dict.fromkeys(
    ("detected_rows", "detections", "frcnn_detections", "proposed_regions", "pyramid_regions"),
    "how many rows come out depends on the entries, and laws compare results of equal shape; "
    "the laws are held against their modules, in cases where the number of rows is fixed",
)
# Subjects that no file holds, with the reason.
WITHOUT_FILES = {"SequenceBeamSearch": "it calls a function of its user, which is code"}
# (table, name) -> the file that the case stands in, as `case_file` writes it.
FILES: dict[tuple[str, str], str] = {}


def subject(table, name):
    """The operation, class or function that a case is about."""
    if table == "OPERATIONS":
        return operations()[name]
    return next(getattr(home, name) for home in _HOMES[table] if hasattr(home, name))


def case_file(found):
    """The file for a subject's case: tests/cases/nn/pooling.py for what nn/layers/pooling/ has."""
    parts = found.__module__.removeprefix("tapegrad.").split(".")
    below = parts[2:3] if ".".join(parts[:2]) in _BY_FILE else parts[1:2]
    family = {"autograd": ["ops", *below], "nn": ["nn", *below]}.get(parts[0], parts[:1])
    return f"tests/cases/{'/'.join(family)}.py"


def _gather():
    here = Path(__file__).parent
    for path in sorted(here.rglob("*.py")):
        if path.name == "__init__.py":
            continue
        below = path.relative_to(here)
        found = importlib.import_module(".".join([__name__, *below.with_suffix("").parts]))
        WITHOUT_LAWS.update(getattr(found, "WITHOUT_LAWS", {}))
        for table in (*TABLES, "EXCEPTIONS"):
            own, known = getattr(found, table, {}), globals()[table]
            twice = own.keys() & known.keys()
            if twice:
                raise ValueError(f"tests/cases/{below.as_posix()}: a second case of {twice}")
            known.update(own)
            if table in TABLES:
                FILES.update({(table, name): f"tests/cases/{below.as_posix()}" for name in own})
    # What cannot be recorded for replay cannot be compiled either.
    for (name, law), why in list(EXCEPTIONS.items()):
        if law == "replay_equals_eager":
            EXCEPTIONS[name, "compiled_equals_eager"] = why


def register():
    """Declare every case to the checker, for `pytest --laws tapegrad.nn` and `tapegrad check`."""
    for table in TABLES:
        for name, case in globals()[table].items():
            exceptions = {
                law: why for (excepted, law), why in EXCEPTIONS.items() if excepted == name
            }
            register_case(subject(table, name), Case(case, exceptions=exceptions))


_gather()
