"""Modules of every class, with inputs and outputs, as files of a version of our format.

    python tests/saved_modules.py tests/data/native/v1_classes.zip

writes an archive with a file for each module below, as the tapegrad that runs this saves it, and
`expected.safetensors`: what each module is given in evaluate mode, and what it returns.
v1_classes.zip was made by commit 90bdff7, the last that wrote version 1.  The archives are not made
again: test_formats_versions.py loads those of all versions, for ever.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from cases import CRITERIONS, MODULES

from tapegrad import manual_seed, nn
from tapegrad.autograd import Parameter
from tapegrad.autograd.check import Draws

__all__ = ["STRANGERS", "leaves", "run"]

ROWS = np.linspace(-1, 1, 12).reshape(4, 3)
STEPS = np.linspace(-1, 1, 24).reshape(4, 2, 3)
IMAGE = np.linspace(-1, 1, 32).reshape(1, 2, 4, 4)


class Scale(nn.Module):
    """A user's layer, with attributes of every kind that a file can hold."""

    def __init__(self, factor: float) -> None:
        self.weight = Parameter(np.array([factor]))
        self.running = nn.Buffer(np.arange(3.0))
        self.settings = {"names": ["a", ("b", 1)], 2: None, "limit": float("inf")}
        self.kind = np.dtype(np.float32)
        self._note = "private"

    def updateOutput(self, x: Any) -> Any:
        return x * self.weight + self.running


class Pair(nn.Sequential):
    """A user's container."""

    def __init__(self, *modules: nn.Module) -> None:
        super().__init__(*modules)
        self.named = {"first": modules[0], "last": [modules[-1]]}


STRANGERS = [Scale, Pair]


def specials() -> dict[str, tuple[nn.Module, Any]]:
    """(module, input) of what single layers do not show: sharing, modes, graphs, states."""
    found: dict[str, tuple[Any, Any]] = {}
    shared = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    shared.get(2).share(shared.get(0), "weight")
    found["shared memory"] = shared, ROWS
    one = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    one.get(2).weight = one.get(0).weight
    found["one parameter twice"] = one, ROWS
    flat = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    flat.getParameters()
    found["flattened"] = flat, ROWS
    linear = nn.Linear(3, 3)
    found["one module twice"] = nn.Sequential(linear, nn.Tanh(), linear), ROWS
    found["frozen"] = nn.Sequential(nn.Linear(3, 3).freeze(), nn.BatchNormalization(3)), ROWS
    evaluated = nn.Sequential(nn.Dropout(0.5), nn.BatchNormalization(3), nn.ReLU())
    evaluated.forward(ROWS.astype(np.float32))
    found["evaluate mode"] = evaluated.evaluate(), ROWS
    first, second = nn.node(nn.Linear(3, 2)), nn.node(nn.Linear(3, 2))
    total = nn.CAddTable()([first, second])
    halves = nn.SplitTable(1)(total).split(2)
    found["graph"] = nn.gModule([first, second], [nn.Tanh()(total), *halves]), [ROWS, -ROWS]
    remembering = nn.Sequencer(nn.LSTM(3, 2)).remember("both")
    remembering.forward(STEPS.astype(np.float32))
    found["remembered states"] = remembering, STEPS
    sequence = nn.SeqGRU(3, 2).maskZero().remember("eval")
    found["masked sequence"] = sequence.setZeroMask(np.eye(4, 2, dtype=bool)), STEPS
    found["masked"] = nn.MaskZero(nn.Linear(3, 2)).setZeroMask([True, False, False, True]), ROWS
    pooling = nn.SpatialMaxPooling(2, 2, 2, 2)
    unpooling = nn.SpatialMaxUnpooling(pooling)
    found["unpooling"] = nn.Sequential(pooling, nn.MulConstant(2.0), unpooling), IMAGE
    pooling.forward(IMAGE)
    found["profile"] = nn.Profile(nn.Linear(3, 2), 1000), ROWS
    found["recurrent"] = nn.BiSequencer(nn.GRU(3, 2), merge=nn.CAddTable()), STEPS
    mapped = nn.MapTable(nn.Linear(3, 2))
    mapped.forward([ROWS.astype(np.float32)] * 2)
    found["mapped"] = mapped, [ROWS, -ROWS]
    noted = nn.Linear(3, 2)
    noted.note, noted.extra = "seen", Parameter(np.ones(2, np.float32))
    found["attributes of a person's"] = noted, ROWS
    found["a stranger's classes"] = Pair(Scale(2.0), nn.Linear(3, 2)), ROWS
    return found


def everything() -> Iterator[tuple[str, nn.Module, tuple[Any, ...]]]:
    """(name, module, inputs): one of each public class of nn, and the specials."""
    manual_seed(0)
    for name, draw in sorted((MODULES | CRITERIONS).items()):
        layer = draw(Draws(1))
        target = () if name not in CRITERIONS else (layer.target,)
        yield name, layer.module, (layer.input, *target)
    for name, (module, x) in specials().items():
        yield name, module.double(), (x,)


def run(module: nn.Module, inputs: tuple[Any, ...]) -> Any:
    """What the module returns in evaluate mode, with its draws from one seed."""
    manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):  # PrintSize and Profile write
        return module.evaluate().forward(*inputs)


def leaves(value: Any) -> list[np.ndarray]:
    """The arrays of nested lists, in order."""
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return (
        [] if value is None else [np.asarray(value.numpy() if hasattr(value, "numpy") else value)]
    )


def _outline(value: Any, arrays: dict[str, Any], name: str) -> Any:
    """`value` as JSON, with arrays under names."""
    if isinstance(value, (list, tuple)):
        return [_outline(item, arrays, f"{name}/{i}") for i, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float)):
        return {"plain": value}
    arrays[name] = np.asarray(value.numpy() if hasattr(value, "numpy") else value)
    return {"array": name}


def main(path: str) -> None:
    """Write the archive."""
    from tapegrad.nn.formats import safetensors_file

    arrays: dict[str, Any] = {}
    outlines: dict[str, Any] = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, \
         tempfile.TemporaryDirectory() as folder:  # fmt: skip
        for name, module, inputs in everything():
            file = Path(folder) / "module.safetensors"
            module.save(file)
            train = module.train
            archive.writestr(_entry(f"{name}.safetensors"), file.read_bytes())
            outlines[name] = {
                "inputs": _outline(inputs, arrays, f"{name}/inputs"),
                "train": train,
                "text": repr(module),
            }
            for i, leaf in enumerate(leaves(run(module, inputs))):
                arrays[f"{name}/output/{i}"] = leaf
        stream = io.BytesIO()
        safetensors_file.write(stream, arrays, {"outlines": json.dumps(outlines)})
        archive.writestr(_entry("expected.safetensors"), stream.getvalue())


def _entry(name: str) -> zipfile.ZipInfo:
    """A name in the archive, without the time of day."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


if __name__ == "__main__":
    main(sys.argv[1])
