"""The recurrent layers that torch/rnn stores as the modules that they are made of.

Its FastLSTM and GRU hold a network of tables that computes one step.  Here they hold the Linears of
that network alone: reading takes them out, after a look at whether it is the network expected;
writing builds it around them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tapegrad.nn.formats.errors import FormatError
from tapegrad.nn.formats.torch7_objects import Table, TorchObject

__all__ = ["read_fast_lstm", "read_gru", "write_fast_lstm", "write_gru"]

Fields = dict[str, Any]


def read_fast_lstm(fields: Fields, _version: int) -> Fields:
    """The two Linears; dropout and batch normalization inside are refused."""
    return _sizes(fields) | _linears(fields, _fast_lstm, ("i2g", "o2g"))


def read_gru(fields: Fields, _version: int) -> Fields:
    """The four Linears; dropout inside is refused."""
    return _sizes(fields) | _linears(fields, _gru, ("i2g", "o2g", "i2h", "o2h"))


def write_fast_lstm(module: Any, fields: Fields) -> Fields:
    """The two Linears as fields, and the step around them."""
    step = _like(_fast_lstm(module.i2g, module.o2g, module.outputsize), module)
    extra = {"cell2gate": True, "affine": True}
    return _stored(module, fields, step) | extra


def write_gru(module: Any, fields: Fields) -> Fields:
    """Two Linears as fields, and the step around all four."""
    linears = (module.i2g, module.o2g, module.i2h, module.o2h)
    step = _like(_gru(*linears, module.outputsize), module)
    fields = {name: value for name, value in fields.items() if name not in {"i2h", "o2h"}}
    return _stored(module, fields, step)


def _sizes(fields: Fields) -> Fields:
    """Sizes under the names used here."""
    sizes = {}
    for theirs, ours in (("inputSize", "inputsize"), ("outputSize", "outputsize")):
        value = fields.get(theirs)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise FormatError(f"a size called {theirs}", f"{value!r:.60}")
        sizes[ours] = value
    return sizes


def _linears(fields: Fields, build: Any, names: tuple[str, ...]) -> Fields:
    from tapegrad.nn import Linear

    wanted = _classes(build(*[Linear(1, 1) for _ in names], 1))
    parts = fields.get("modules")
    if not isinstance(parts, list) or not parts:
        raise FormatError("a list of modules", type(parts).__name__)
    found = _parts(parts[0], len(wanted))
    if [type(part).__name__ for part in found] != wanted:
        raise FormatError(
            "the modules of a step as torch/rnn builds them, without dropout, batch normalization "
            "or nngraph",
            ", ".join(type(part).__name__ for part in found)[:200],
        )
    return dict(zip(names, (part for part in found if isinstance(part, Linear)), strict=True))


def _classes(module: Any) -> list[str]:
    return [type(part).__name__ for part in _parts(module, 1000)]


def _parts(root: Any, most: int) -> list[Any]:
    """The module and all below it, parents first, and no more than one beyond `most`."""
    found, pending = [], [root]
    while pending and len(found) <= most:
        part = pending.pop()
        found.append(part)
        below = [] if isinstance(part, (Table, TorchObject)) else _modules(part)
        pending.extend(reversed(below))
    return found


def _modules(module: Any) -> list[Any]:
    below = getattr(module, "__dict__", {}).get("modules", [])
    return below if isinstance(below, list) else []


def _like(step: Any, module: Any) -> Any:
    """A network of the dtype and mode of the layer that it is for."""
    step.type(module.type())
    return step.training() if module.train else step.evaluate()


def _stored(module: Any, fields: Fields, step: Any) -> Fields:
    """What all layers of one step have in torch/rnn: the step, and nothing of past ones."""
    past = ("outputs", "gradOutputs", "_gradOutputs", "gradInputs", "cells", "gradCells")
    fields = {k: v for k, v in fields.items() if k not in {"inputsize", "outputsize"}}
    return fields | {
        "inputSize": module.inputsize,
        "outputSize": module.outputsize,
        "modules": [step],
        "sharedClones": [step],
        "zeroTensor": np.empty(0, fields["gradInput"].dtype),
        "step": 1,
        "p": 0,
        "mono": False,
        "rmInSharedClones": True,
        **{name: Table() for name in past},
    }


def _fast_lstm(i2g: Any, o2g: Any, size: int) -> Any:
    """[x, h, c] -> [h', c']."""
    from tapegrad import nn

    each, both, chain = nn.ParallelTable, nn.ConcatTable, nn.Sequential
    gates = chain(
        nn.NarrowTable(0, 2),
        each(i2g, o2g),
        nn.CAddTable(),
        nn.Reshape(4, size),
        nn.SplitTable(0, 2),
        each(nn.Sigmoid(), nn.Tanh(), nn.Sigmoid(), nn.Sigmoid()),
    )
    written = chain(nn.NarrowTable(0, 2), nn.CMulTable())
    kept = chain(both(nn.SelectTable(2), nn.SelectTable(4)), nn.CMulTable())
    shown = chain(
        both(chain(nn.SelectTable(0), nn.Tanh()), nn.SelectTable(1)),
        nn.CMulTable(),
    )
    return chain(
        both(gates, nn.SelectTable(2)),
        nn.FlattenTable(),
        both(chain(both(written, kept), nn.CAddTable()), nn.SelectTable(3)),
        nn.FlattenTable(),
        both(shown, nn.SelectTable(0)),
    )


def _gru(i2g: Any, o2g: Any, i2h: Any, o2h: Any, size: int) -> Any:
    """[x, h] -> h'."""
    from tapegrad import nn

    each, both, chain = nn.ParallelTable, nn.ConcatTable, nn.Sequential
    gates = chain(
        each(i2g, o2g),
        nn.CAddTable(),
        nn.Reshape(2, size),
        nn.SplitTable(0, 2),
        each(nn.Sigmoid(), nn.Sigmoid()),
    )
    reset = chain(nn.NarrowTable(1, 2), nn.CMulTable(), o2h)
    candidate = chain(both(chain(nn.SelectTable(0), i2h), reset), nn.CAddTable(), nn.Tanh())
    share = chain(nn.SelectTable(3), nn.SAdd(-1, negate=True))
    mixed = chain(
        both(
            chain(both(candidate, share), nn.CMulTable()),
            chain(nn.NarrowTable(3, 2), nn.CMulTable()),
        ),
        nn.CAddTable(),
    )
    return chain(
        both(nn.Identity(), gates),
        nn.FlattenTable(),
        both(nn.NarrowTable(0, 4), nn.SelectTable(1)),
        nn.FlattenTable(),
        mixed,
    )
