"""`export`, `save` and `load` of ONNX's files, and the format's entry in the table of formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tapegrad.nn.core import files
from tapegrad.nn.core.places import is_remote, replaced, source_name
from tapegrad.nn.core.transient import transient_value
from tapegrad.nn.formats.common.errors import FormatError, Limits, UnsupportedError
from tapegrad.nn.formats.onnx.decoding import model_of
from tapegrad.nn.formats.onnx.encoding import record_of
from tapegrad.nn.formats.onnx.exporting import graph_of
from tapegrad.nn.formats.onnx.external import ExternalData
from tapegrad.nn.formats.onnx.fields import SCHEMA
from tapegrad.nn.formats.onnx.importing import build_module
from tapegrad.nn.formats.onnx.showing import describe, input_types

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from tapegrad.nn.formats.onnx.graph import OnnxModel
    from tapegrad.nn.module import Module

__all__ = ["export", "load", "read_model", "save"]

OPSET = 17
NO_EXAMPLE = (
    "an example of the input, by which the module is recorded: nn.formats.onnx.export(module, "
    "example, path)"
)


def export(
    called: Module | Callable[..., Any],
    example_inputs: Any,
    path: str | os.PathLike[str],
    *,
    dynamic_batch: bool | Mapping[int, int] = True,
    opset: int = OPSET,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> None:
    """Write a module, or a function of Tensors, as an ONNX model, by recording a call of it.

    called:         a Module, which is recorded in evaluation mode, or any function of Tensors
    example_inputs: its argument, an array or a list of arrays; a tuple for several arguments
    dynamic_batch:  whether the number of samples may change: axis 0 of each array that is as long
                    there as the first one.  Or {number of the array: axis of samples}.  The call is
                    then recorded with 2, 3 and 5 samples; False: once, with the shapes given
    opset:          the version of ONNX's operators, 17 to 21
    input_names, output_names: of the arrays; "input" or "input_0", …, "output" or "output_0", …
    Parameters and buffers keep their dotted names.  Python runs while the call is recorded: loops
    are unrolled, and the file has the branches that were taken.
    Raises UnsupportedError for what ONNX cannot say, with the line that asks for it: random draws,
    values that Python decides by, operations without operators; ValueError for another opset and
    for names that do not fit; OSError for the file itself.  Nothing is written then.
    """
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    model = graph_of(
        called, inputs, dynamic_batch=dynamic_batch, opset=opset, input_names=input_names,
        output_names=output_names,
    )  # fmt: skip
    _write(model, path)


def _write(model: OnnxModel, path: str | os.PathLike[str]) -> None:
    record = record_of(model)
    with replaced(path) as stream:
        SCHEMA.write(record, stream)


def save(module: Module, path: str | os.PathLike[str]) -> None:
    """Write a module by the input of its last `forward`; see `export`.

    Raises UnsupportedError for a module that has not run; else as `export`.
    """
    example = _last_input(module)
    if example is None:
        raise UnsupportedError(NO_EXAMPLE, "a module that has not run forward")
    export(module, example, path)


def _last_input(module: Module) -> Any:
    """The input of the last `forward`, None if the module keeps none."""
    trace = transient_value(module, "trace")
    if trace is None:
        return None
    inputs = trace.root.inputs
    return inputs[0] if len(inputs) == 1 else tuple(inputs)


def read_model(
    path: str | os.PathLike[str] | bytes,
    *,
    limits: Limits | None = None,
    external_data: bool = False,
) -> OnnxModel:
    """The graph of a file as data.

    Raises FormatError and OSError as `load` does; ValueError for external_data without a path.
    """
    limits = limits or Limits()
    name = source_name(path)
    folder = None
    if external_data:
        if isinstance(path, bytes) or is_remote(path):
            raise ValueError("external_data=True needs a path on this machine, to know the folder")
        folder = Path(path).parent
    try:
        record = SCHEMA.read(path, "ModelProto", limits)
        return model_of(record, limits, ExternalData(folder))
    except FormatError as error:
        error.file = error.file or name
        raise


def load(
    path: str | os.PathLike[str] | bytes,
    *,
    classes: Iterable[type] | Mapping[str, type] = (),
    limits: Limits | None = None,
    external_data: bool = False,
) -> Module:
    """Return the model of an ONNX file as a Module, in evaluation mode.

    path:          the file's path, or its bytes
    classes:       not used: the file names operators, and no classes
    external_data: whether arrays may be in other files of the same folder
    A graph of layers becomes a Sequential or a gModule of them; another one an OnnxGraph, whose
    `weights` have the names of the file's arrays.  Arrays of floating point numbers are Parameters.
    Several inputs are one list, several outputs too.
    Raises FormatError or one of its children: UnsupportedError for an operator that is not known,
    by its name; UnsafeError for data outside of the folder; OSError for the file itself.
    """
    del classes
    model = read_model(path, limits=limits, external_data=external_data)
    try:
        return build_module(model)
    except FormatError as error:
        error.file = error.file or source_name(path)
        raise


def _recognises(first: bytes) -> bool:
    """Whether a file begins with a small version number in field 1, and another field after it."""
    return len(first) > 3 and first[0] == 8 and 0 < first[1] < 32 and first[2] in _AFTER_VERSION


_AFTER_VERSION = (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42)  # fields 2 to 8


def _save_from(module: Module, inputs: Any, path: str | os.PathLike[str]) -> None:
    export(module, inputs, path)


files.register_format(
    files.FileFormat(
        "onnx",
        (".onnx",),
        load,
        save,
        _recognises,
        save_from=_save_from,
        input_types=input_types,
        describe=describe,
    )
)
