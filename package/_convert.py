"""The command `tapegrad convert`: a model file of any format becomes one of any other.

The formats are those of the table (nn/core/files.py), and each does its own part of the work; here
is what the command line asks of them.  Formats whose files say the shapes of inputs get an example:
of `--input-shape`, else as the source states it, else of the first layer where that says all of it.
"""

import argparse
import re
import sys
from typing import Any, Literal

import numpy as np

from tapegrad._command import add_command, is_file
from tapegrad._errors import CommandError, reason_of
from tapegrad.autograd.core.progress import working

NO_SHAPE = (
    "{target}: such a file says the shape of the model's input, which {source} does not; say it "
    "with the batch, once for each input: --input-shape 1,3,224,224"
)
NO_SHAPE_TO_CHECK = (
    "--check runs the models on an input, whose shape {source} does not say; say it with the "
    "batch, once for each input: --input-shape 1,3,224,224"
)
ONLY_ARRAYS = (
    "{source} holds arrays and no module: name a file of the module that they belong to, "
    "tapegrad convert MODEL OUT --weights {source}; or a target for arrays, {targets}"
)
NOT_WRITTEN = "{target}: such files are read only; files that are written end in one of {known}"
DEFINITION = "{target}: name the model, .caffemodel: the definition is written beside it"
DRAWN = "{source} has no weights: drawn ones are written (--weights FILE takes them of a model)"
NO_FORMAT = "{name}: neither its name nor its content says a format"
NO_MODULE = "{source} holds a {found} and not a module; in Python, nn.formats.torch7.load reads it"
_SHAPE = re.compile(r"(\d+(?:[,x]\d+)*)(?::([a-z]+\d+))?")
_WHOLE = (1, 3)  # what integers of a drawn input are drawn from: indices that most layers take


def add_convert(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    convert = add_command(
        commands,
        "convert",
        help="convert a model file of any format to another",
        description="Converts between safetensors (tapegrad's own), Torch7, BigDL, Caffe, "
        "TensorFlow, ONNX, MXNet and plain weights: by the content of IN and the ending of OUT.",
        examples=[
            (
                "tapegrad convert model.t7 model.safetensors --check",
                "and compare what both compute",
            ),
            (
                "tapegrad convert lenet.prototxt lenet.t7 --weights lenet.caffemodel",
                "from two files",
            ),
            ("tapegrad convert model.safetensors model.onnx --input-shape 1,3,224,224", "to ONNX"),
        ],
    )
    source = convert.add_argument(
        "source", metavar="IN", help="a model file of any of these formats"
    )
    target = convert.add_argument(
        "target",
        metavar="OUT",
        help="the file to write: .safetensors, .t7, .bigdl, .caffemodel, .pb, .onnx, .params, .npz",
    )
    weights = convert.add_argument(
        "--weights",
        metavar="FILE",
        help="the weights of IN, where they lie in a file of their own: BigDL's weight file, the "
        ".caffemodel of a .prototxt, or arrays by name (.pt, .npz, .h5, .safetensors)",
    )
    beside = convert.add_argument(
        "--weights-out", metavar="FILE", help="write the weights of a .bigdl file beside it"
    )
    for argument in (source, target, weights, beside):
        is_file(argument)
    convert.add_argument(
        "--input-shape",
        action="append",
        default=[],
        type=_shape,
        metavar="N,…[:DTYPE]",
        dest="shapes",
        help="the shape of an input with the batch, 1,3,224,224 or 1,12:int64; once for each input",
    )
    convert.add_argument(
        "--fixed-batch", action="store_true", help="write an ONNX model for this batch alone"
    )
    convert.add_argument(
        "--check",
        action="store_true",
        help="run both models on the same random input and print the largest difference",
    )
    convert.add_argument(
        "--tolerance",
        type=float,
        default=1e-4,
        metavar="T",
        help="of --check, as a share of the largest number (default 0.0001): more ends with 1",
    )
    convert.add_argument("--ascii", action="store_true", help="write a Torch7 file as text")
    convert.set_defaults(run=_convert)


def _shape(text: str) -> tuple[tuple[int, ...], str]:
    match = _SHAPE.fullmatch(text)
    if match is None or min(lengths := [int(n) for n in re.split("[,x]", match[1])]) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not lengths like 1,3,224,224")
    try:
        return tuple(lengths), np.dtype(match[2] or "").name if match[2] else ""
    except TypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from error


def _convert(options: argparse.Namespace) -> int:
    from tapegrad.nn.formats import FormatError

    try:
        return _Conversion(options).run()
    except (FormatError, OSError) as error:
        text = reason_of(error).replace("needs weightPath", "needs --weights FILE")
        raise CommandError(text) from error


class _Conversion:
    """One run of the command."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.source, self.target = options.source, options.target
        self.source_kind, self.target_kind = _kind_of(self.source), _kind_to_write(self.target)
        if options.ascii and self.target_kind.name != "torch7":
            raise CommandError("--ascii is for a Torch7 file, .t7")
        if options.weights_out and self.target_kind.name != "bigdl":
            raise CommandError("--weights-out is for a file of BigDL, .bigdl")
        if options.fixed_batch and self.target_kind.name != "onnx":
            raise CommandError("--fixed-batch is for an ONNX model, .onnx")

    def run(self) -> int:
        """Convert, and return the exit code."""
        from tapegrad.nn.core import places

        with working(f"reading {places.file_name(self.source)}"):
            found = self.read()
        with working(f"writing {places.file_name(self.target)}"):
            if isinstance(found, dict):
                self.write_arrays(found)
            else:
                self.write(self.in_layers(found))
        print(f"{self.target}: {places.size_of(self.target):,} bytes")
        if not self.options.check:
            return 0
        with working(f"comparing {places.file_name(self.target)}"):
            return self.check(found)

    def read(self) -> Any:
        """The module of the source, or its arrays by name; of Torch7 for Torch7, any object."""
        from tapegrad import nn
        from tapegrad.nn.core import places
        from tapegrad.nn.formats import torch7

        name = self.source_kind.name
        if self.options.weights:
            return self.read_with_weights()
        if name == "caffe" and places.suffix_of(self.source) == ".prototxt":
            print(f"tapegrad convert: {DRAWN.format(source=self.source)}", file=sys.stderr)
        if name != "torch7":
            found = nn.load(self.source) if not self.holds_arrays() else self.arrays(self.source)
        elif self.target_kind.name == "torch7" and not self.options.check:
            return torch7.objects(self.source)  # nothing needs to be known to be written again
        else:
            found = torch7.load(self.source, strict=True)
        if isinstance(found, list) and name == "mxnet":
            found = {str(number): array for number, array in enumerate(found)}
        if not isinstance(found, (nn.Module, dict)) or (
            name == "torch7" and isinstance(found, dict)
        ):
            raise CommandError(NO_MODULE.format(source=self.source, found=type(found).__name__))
        return found

    def holds_arrays(self) -> bool:
        """Whether the source is a safetensors file that tapegrad did not write."""
        from tapegrad.nn.core import files
        from tapegrad.nn.formats import safetensors_file

        if self.source_kind.name != files.NATIVE:
            return False
        return safetensors_file.read(self.source, data=False)[1].get("format") != "tapegrad"

    def arrays(self, path: str) -> dict[str, np.ndarray]:
        """The arrays of a file by name."""
        from tapegrad import nn

        return dict(nn.load_weights(path))

    def read_with_weights(self) -> Any:
        """The module of the source with the weights of another file."""
        from tapegrad import nn
        from tapegrad.nn.core import files
        from tapegrad.nn.formats import bigdl, caffe

        weights, name = self.options.weights, self.source_kind.name
        kind = files.detect_format(weights)
        if name == "caffe" and kind is not None and kind.name == "caffe":
            return caffe.load_caffe_model(self.source, weights)
        if name == "bigdl" and (kind is None or kind.read_arrays is None):
            return bigdl.load(self.source, weightPath=weights)
        module = nn.load(self.source)
        if not isinstance(module, nn.Module):
            raise CommandError(ONLY_ARRAYS.format(source=self.source, targets=_targets()))
        try:
            module.load_state_dict(self.arrays(weights))
        except (KeyError, ValueError) as error:
            raise CommandError(f"{weights}: {error.args[0] if error.args else error}") from error
        return module

    def write_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Write a source without a module."""
        if self.target_kind.write_arrays is None:
            text = ONLY_ARRAYS.format(source=self.source, targets=_targets())
            no_symbol = "; no symbol lies beside it" if self.source_kind.name == "mxnet" else ""
            raise CommandError(text + no_symbol)
        self.target_kind.write_arrays(arrays, self.target)

    def write(self, module: Any) -> None:
        """Write the module in the target's format."""
        from tapegrad.nn.formats import onnx

        kind = self.target_kind
        if kind.name == "torch7":
            self.write_torch7(module)
        elif kind.name == "bigdl":
            kind.save_from(module, self.inputs(module), self.target, self.options.weights_out)
        elif kind.save_from is None or (kind.name == "mxnet" and _is_symbol(module)):
            kind.save(module, self.target)
        else:
            inputs = self.inputs(module)
            if inputs is None:
                raise CommandError(NO_SHAPE.format(target=self.target, source=self.source))
            if self.options.fixed_batch:
                onnx.export(module, inputs, self.target, dynamic_batch=False)
            else:
                kind.save_from(module, inputs, self.target)

    def in_layers(self, module: Any) -> Any:
        """The module in layers of nn, where the target's format holds no other."""
        from tapegrad.nn.core import files
        from tapegrad.nn.formats import UnsupportedError

        kind = self.target_kind
        if not _is_symbol(module) or kind.name in (files.NATIVE, "weights", "mxnet"):
            return module
        [make] = [each.as_layers for each in files.formats() if each.as_layers is not None]
        try:
            return make(module, self.inputs(module))
        except UnsupportedError:
            if kind.name != "onnx":  # which records what the module computes
                raise
            return module

    def write_torch7(self, module: Any) -> None:
        """Write a module, or the objects of another file of Torch7's."""
        from tapegrad import nn
        from tapegrad.nn.formats import torch7

        mode: Literal["ascii", "binary"] = "ascii" if self.options.ascii else "binary"
        if isinstance(module, nn.Module):
            self.target_kind.save_from(module, self.inputs(module), self.target, mode)
        else:
            torch7.save(module, self.target, mode=mode)

    def inputs(self, module: Any) -> Any:
        """A random input, an array or a list of several; None where no one says a shape."""
        types = self.options.shapes
        if not types and self.source_kind.input_types is not None:
            types = self.source_kind.input_types(self.source)
        types = types or _first_shape(module)
        floats = [p.dtype for _, p in module.named_parameters() if p.dtype.kind == "f"]
        random = np.random.default_rng(0)
        arrays = []
        for shape, dtype in types:
            dtype = np.dtype(dtype or (floats[0] if floats else "float32"))
            if dtype.kind in "iu":
                arrays.append(random.integers(*_WHOLE, shape).astype(dtype))
            else:
                arrays.append(random.normal(size=shape).astype(dtype))
        return arrays[0] if len(arrays) == 1 else arrays or None

    # --check

    def check(self, found: Any) -> int:
        """Print the largest difference between the source and what was written."""
        from tapegrad import nn
        from tapegrad.nn.formats import bigdl

        if self.options.weights_out:
            again: Any = bigdl.load(self.target, weightPath=self.options.weights_out)
        else:
            again = nn.load(self.target) if isinstance(found, nn.Module) else None
        if not isinstance(again, nn.Module):
            before = found if isinstance(found, dict) else found.state_dict()
            after = self.arrays(self.target)
            if before.keys() != after.keys():
                raise CommandError(f"{self.target} holds other names than {self.source}")
            return self.compared([before[k] for k in after], list(after.values()), "arrays")
        inputs = self.inputs(found)
        if inputs is None:
            raise CommandError(NO_SHAPE_TO_CHECK.format(source=self.source))
        many = inputs if isinstance(inputs, list) else [inputs]
        shapes = ", ".join("x".join(map(str, array.shape)) for array in many)
        made, remade = (
            _results_of(model, inputs, name)
            for model, name in ((found, self.source), (again, self.target))
        )
        return self.compared(made, remade, f"results of a random input {shapes}")

    def compared(self, before: list[Any], after: list[Any], what: str) -> int:
        """Print the largest difference of two lists of arrays, and return the exit code."""
        shapes = [[np.shape(a) for a in several] for several in (before, after)]
        if shapes[0] != shapes[1]:
            raise CommandError(f"{what}: {self.source} has {shapes[0]}, {self.target} {shapes[1]}")
        largest = scale = 0.0
        for a, b in zip(before, after, strict=True):
            a, b = np.asarray(a), np.asarray(b)
            if not a.size:
                continue
            wide = np.result_type(a, np.float64)
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            with np.errstate(invalid="ignore"):
                apart = np.where(same, 0, np.abs(a.astype(wide) - b.astype(wide)))
            largest = max(largest, float(np.where(np.isnan(apart), np.inf, apart).max()))
            scale = max(scale, float(np.abs(np.nan_to_num(a.astype(wide))).max()))
        print(f"largest difference {largest:.3g} of {what}, whose largest number is {scale:.3g}")
        return 0 if largest <= self.options.tolerance * scale else 1


def _kind_of(source: str) -> Any:
    from tapegrad.nn.core import files, places

    if files.format_by_suffix(source) is None and not places.exists(source):
        raise CommandError(f"{source}: the name must end in one of {_known(shared=True)}")
    try:
        kind = files.detect_format(source)
    except OSError as error:
        raise CommandError(reason_of(error)) from error
    if kind is None:
        raise CommandError(NO_FORMAT.format(name=source))
    return kind


def _kind_to_write(target: str) -> Any:
    from tapegrad.nn.core import files, places

    kind = files.format_by_suffix(target, shared=False)
    if kind is None and places.suffix_of(target) == ".prototxt":
        raise CommandError(DEFINITION.format(target=target))
    if kind is None and files.format_by_suffix(target) is not None:
        if places.file_name(target).endswith("-symbol.json"):
            return files.format_by_suffix(target)
        raise CommandError(NOT_WRITTEN.format(target=target, known=_known(shared=False)))
    if kind is None:
        raise CommandError(f"{target}: the name must end in one of {_known(shared=False)}")
    return kind


def _is_symbol(module: Any) -> bool:
    """Whether a module is one of MXNet's, which a file of our own format may hold too."""
    from tapegrad.nn.mxnet import SymbolModule

    return isinstance(module, SymbolModule)


def _known(*, shared: bool) -> str:
    from tapegrad.nn.core import files

    return ", ".join(
        suffix
        for kind in files.formats()
        for suffix in (*kind.suffixes, *(kind.shared if shared else ()))
    )


def _targets() -> str:
    from tapegrad.nn.core import files

    return ", ".join(kind.suffixes[0] for kind in files.formats() if kind.write_arrays)


def _first_shape(module: Any) -> list[tuple[tuple[int, ...], str]]:
    """The shape of the input, in a list, where the first layer says all of it; else no shape."""
    from tapegrad import nn

    first = module
    while isinstance(first, nn.Sequential) and first.modules:
        first = first.modules[0]
    return [((2, first.weight.shape[1]), "")] if type(first) is nn.Linear else []


def _results_of(module: Any, inputs: Any, name: str) -> list[np.ndarray]:
    """What a module returns in evaluate mode, as a flat list of arrays."""
    from tapegrad.autograd import Tensor, no_grad
    from tapegrad.autograd.core.tree import leaves

    module.evaluate()
    try:
        with no_grad():
            result = module(inputs)
    except (ValueError, TypeError, LookupError) as error:
        raise CommandError(f"{name} does not take such an input: {error!s:.500}") from error
    return [np.asarray(t.detach()) for t in leaves([result]) if isinstance(t, Tensor)]
