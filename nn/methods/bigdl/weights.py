"""Weights by list and by name, factors of their gradients, regularizers, initial values."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tapegrad import devices
from tapegrad.autograd import Parameter, Tensor, no_grad, ops
from tapegrad.autograd.core.tensor import array_of, as_array
from tapegrad.nn.core.buffer import Buffer
from tapegrad.nn.core.gradient_rules import BIAS, RECURRENT, WEIGHT, kind_of_parameter
from tapegrad.nn.core.init_methods import InitializationMethod
from tapegrad.nn.core.part import Part, attach_gradient_rules, gradient_of, named_fields
from tapegrad.nn.core.regularizers import Regularizer

if TYPE_CHECKING:
    from tapegrad.autograd.core.types import Operand

__all__ = ["Weights", "copy_named_weights"]

NO_FACTOR = "{name}.{method} takes a finite number, not {found!r:.40}"
FACTOR = (
    "{name}.{field} is the factor of gradients, of every module: setScale{letter} sets it, here "
    "and below; for something else take another name"
)
NO_WEIGHTS = "{name}.setWeightsBias: the module has no parameters, and was given {count} arrays"
COUNT = "{name}.{method}: the module has {expected} arrays, and was given {found}"
SHAPE = "{name}.{method}: array {position} has shape {found}, {what} has {expected}"
NO_EXTRA = (
    "{name}.setExtraParameter: the module has {has}, and was given {given}: None is for a layer "
    "without buffers alone"
)
TWICE = "{name}.getParametersTable: two layers are called {layer!r}; give them names of their own"
NO_REGULARIZER = (
    "{name}.{method} takes a regularizer, such as L2Regularizer(0.1), or None, not {found!r:.40}"
)
NO_PARAMETERS = (
    "{name}.{method}: the module has no {kind} of its own: set the regularizer on the layer below "
    "that has"
)
NO_INIT = (
    "{name}.setInitMethod takes initialization methods, such as Xavier(), or None, not "
    "{found!r:.40}"
)
ABSENT_LAYER = (
    "{name}.loadModelWeights: the source has no layer called {layers}; matchAll=False loads the "
    "others"
)


_KINDS = {WEIGHT: "weights", BIAS: "bias", RECURRENT: "recurrent weights"}


class Weights(Part):
    """Weights, biases and their gradients, by list and by name."""

    type: Any  # of the mixin Torch7

    # Factors of gradients -------------------------------------------------------------------------

    def setScaleW(self, w: float) -> Self:
        """Multiply what is added to gradients of weights by `w`, regularizers included.

        A module with children sets theirs, and its own only if it has parameters itself.  0 adds
        nothing.  `gradInput` and functions' `grad` have no factor.  Files and copies keep it.
        Returns self.  Raises TypeError for what is no finite number.
        """
        return self._set_scale("setScaleW", 0, w)

    def setScaleB(self, b: float) -> Self:
        """Multiply what is added to gradients of biases by `b`; as `setScaleW`, and raises so."""
        return self._set_scale("setScaleB", 1, b)

    def getScaleW(self) -> float:
        """The factor of this module's gradients of weights; 1 at first."""
        return self._scales[0]

    def getScaleB(self) -> float:
        """The factor of this module's gradients of biases; 1 at first."""
        return self._scales[1]

    @property
    def scaleW(self) -> float:
        """The factor of this module's gradients of weights, as `getScaleW()`.

        `setScaleW` sets it; an assignment raises AttributeError.
        """
        return self._scales[0]

    @scaleW.setter
    def scaleW(self, w: Any) -> None:
        raise AttributeError(FACTOR.format(name=type(self).__name__, field="scaleW", letter="W"))

    @property
    def scaleB(self) -> float:
        """The factor of this module's gradients of biases, as `getScaleB()`; as `scaleW`."""
        return self._scales[1]

    @scaleB.setter
    def scaleB(self, b: Any) -> None:
        raise AttributeError(FACTOR.format(name=type(self).__name__, field="scaleB", letter="B"))

    def _set_scale(self, method: str, position: int, factor: Any) -> Self:
        number = isinstance(factor, (int, float, np.number)) and not isinstance(factor, bool)
        if not number or not math.isfinite(factor):
            name = type(self).__name__
            raise TypeError(NO_FACTOR.format(name=name, method=method, found=factor))
        for module in self.listModules():
            if not Part.children(module) or Part.own_parameters(module):
                scales = list(module._scales)
                scales[position] = float(factor)
                module._scales = tuple(scales)
                attach_gradient_rules(module)
        return self

    def setWRegularizer(self, regularizer: Regularizer | None) -> Self:
        """Let `regularizer` act on the weights of this module; None takes it away.

        Modules below it have their own, but for cells (RnnCell, LSTMCell, …), which hand it to what
        reads their input.  Returns self.
        Raises TypeError for anything else, ValueError for a module without parameters.
        """
        return self._set_regularizer("setWRegularizer", WEIGHT, regularizer)

    def setBRegularizer(self, regularizer: Regularizer | None) -> Self:
        """Let `regularizer` act on the bias of this module; as `setWRegularizer`, and raises so."""
        return self._set_regularizer("setBRegularizer", BIAS, regularizer)

    def setURegularizer(self, regularizer: Regularizer | None) -> Self:
        """Let `regularizer` act on the weights by which a recurrent layer reads its own output.

        Cells hand it to what reads their state.  As `setWRegularizer`, and raises so; ValueError
        for a layer without such weights, too.
        """
        return self._set_regularizer("setURegularizer", RECURRENT, regularizer)

    def _set_regularizer(self, method: str, kind: str, regularizer: Any) -> Self:
        if regularizer is not None and not isinstance(regularizer, Regularizer):
            name = type(self).__name__
            raise TypeError(NO_REGULARIZER.format(name=name, method=method, found=regularizer))
        chosen = {key: value for key, value in self._regularizers.items() if key != kind}
        has = self._recurrent_weights if kind == RECURRENT else Part.own_parameters(self)
        if regularizer is not None and not has:
            name, what = type(self).__name__, _KINDS[kind]
            raise ValueError(NO_PARAMETERS.format(name=name, method=method, kind=what))
        if regularizer is not None:
            chosen[kind] = regularizer
        self._regularizers = chosen
        attach_gradient_rules(self)
        return self

    # Initial values -------------------------------------------------------------------------------

    def setInitMethod(self, weightInitMethod: Any = None, biasInitMethod: Any = None) -> Self:
        """Draw the weights by the first method and the biases by the second, now and in `reset`.

        None leaves the layer's own rule.  A class stands for its instance without arguments.
        Modules below have their own.  Returns self.  Raises TypeError for anything else.
        """
        chosen = {}
        for kind, method in ((WEIGHT, weightInitMethod), (BIAS, biasInitMethod)):
            made = method() if isinstance(method, type) else method
            if made is not None and not isinstance(made, InitializationMethod):
                name = type(self).__name__
                raise TypeError(NO_INIT.format(name=name, found=method))
            if made is not None:
                chosen[kind] = made
        self._initializers = chosen
        self._draw_by_methods()
        return self

    def _draw_by_methods(self) -> None:
        """Draw the module's own parameters for which it has initialization methods."""
        for name, value in named_fields(self) if self._initializers else ():
            if isinstance(value, Parameter):
                kind = BIAS if kind_of_parameter(self, name) == BIAS else WEIGHT
                if kind in self._initializers:
                    self._initializers[kind].init(value)

    # Lists of arrays ------------------------------------------------------------------------------

    def getWeightsBias(self) -> list[Parameter] | None:
        """The live Parameters of this module and below, frozen ones too; None for a leaf without.

        In the order of `named_parameters`.
        """
        found = [p for _, p in self.named_parameters()]
        return found if found or Part.children(self) else None

    def setWeightsBias(self, newWeights: Sequence[Operand]) -> Self:
        """Copy arrays into the Parameters, in the order of `getWeightsBias`; returns self.

        Raises ValueError for another count, for another shape, and for a module without
        parameters; nothing is changed then.
        """
        own = self.getWeightsBias()
        if not own:
            name, count = type(self).__name__, len(newWeights)
            raise ValueError(NO_WEIGHTS.format(name=name, count=count))
        return self._copy_into("setWeightsBias", own, newWeights)

    def get_weights(self) -> list[np.ndarray[Any, Any]] | None:
        """Copies of the arrays of `getWeightsBias`, in NumPy; None for a leaf without."""
        own = self.getWeightsBias()
        return None if own is None else [np.array(devices.to_numpy(array_of(p))) for p in own]

    def set_weights(self, weights: Sequence[Operand]) -> Self:
        """`setWeightsBias`, by its name in BigDL's Python API; raises ValueError as it does."""
        return self.setWeightsBias(weights)

    def getExtraParameter(self) -> list[Buffer] | None:
        """The live buffers of this module and below that hold numbers with fractions, such as
        running means; None for a leaf without.
        """
        found = [buffer for _, buffer in self.named_buffers() if buffer.dtype.kind in "fc"]
        return found if found or Part.children(self) else None

    def setExtraParameter(self, extraParam: Sequence[Operand] | None) -> Self:
        """Copy arrays into the buffers, in the order of `getExtraParameter`; returns self.

        None is for a leaf without buffers.  Raises ValueError where only one of both is None, for
        another count and for another shape; nothing is changed then.
        """
        own = self.getExtraParameter()
        if own is None and extraParam is None:
            return self
        if own is None or extraParam is None:
            has = "no buffers" if own is None else f"{len(own)} buffers"
            given = "None" if extraParam is None else f"{len(extraParam)} arrays"
            name = type(self).__name__
            raise ValueError(NO_EXTRA.format(name=name, has=has, given=given))
        return self._copy_into("setExtraParameter", own, extraParam)

    def _copy_into(self, method: str, own: Sequence[Tensor], arrays: Sequence[Operand]) -> Self:
        name = type(self).__name__
        if len(arrays) != len(own):
            raise ValueError(
                COUNT.format(name=name, method=method, expected=len(own), found=len(arrays))
            )
        for position, (mine, theirs) in enumerate(zip(own, arrays, strict=True)):
            if np.shape(theirs) != mine.shape:
                what = "the parameter" if isinstance(mine, Parameter) else "the buffer"
                shapes = {"found": np.shape(theirs), "expected": mine.shape, "what": what}
                raise ValueError(
                    SHAPE.format(name=name, method=method, position=position, **shapes)
                )
        _assign_all(list(zip(own, arrays, strict=True)))
        return self

    # Tables by name -------------------------------------------------------------------------------

    def getParametersTable(self) -> dict[str, dict[str, Tensor]] | None:
        """{name of the layer: {name of the array: live Tensor}}; None for a leaf without any.

        Of one parameter the name is "weight", of two "weight" and "bias", of more "weight0",
        "weight1", …; their gradients are "gradWeight", "gradBias", "gradient0", ….  A bias alone is
        "bias", and several of which none is called weight or bias have their own names.
        Running statistics are "runningMean" and "runningVar".  A quantized layer has "int8.weight"
        and "scales.weight".
        Raises ValueError if two layers have one name.
        """
        table: dict[str, dict[str, Tensor]] = {}
        for module in self.listModules():
            entries = module._own_table()
            if entries:
                layer = module.getName()
                if layer in table:
                    raise ValueError(TWICE.format(name=type(self).__name__, layer=layer))
                table[layer] = entries
        return table if table or Part.children(self) else None

    def _own_table(self) -> dict[str, Tensor]:
        """The entries of `getParametersTable` for the module's own arrays."""
        named = named_fields(self)
        parameters: dict[int, tuple[str, Parameter]] = {}
        entries: dict[str, Tensor] = {}
        for name, value in named:
            if isinstance(value, Parameter):
                parameters.setdefault(id(value), (name, value))
            elif isinstance(value, Buffer) and (value.dtype.kind in "fc" or value.dtype == np.int8):
                entries[_running(name)] = value
        for (weight, gradient), p in zip(
            _table_names([name for name, _ in parameters.values()]),
            [p for _, p in parameters.values()],
            strict=True,
        ):
            entries[weight] = p
            entries[gradient] = gradient_of(p)
        return entries

    def loadModelWeights(self, srcModel: Part, matchAll: bool = True) -> Self:
        """Copy parameters and buffers from the layers of `srcModel` that have the same names.

        Layers of the source alone are ignored.  Returns self.
        Raises KeyError, if matchAll, for layers that the source lacks, ValueError for other shapes
        and for arrays that only one of two layers has; nothing is changed then.
        """
        source: Any = srcModel
        copy_named_weights(self, source.getParametersTable() or {}, matchAll)
        return self

    def getNumericType(self) -> np.dtype[Any]:
        """The dtype of the module's parameters; `type()` by another name."""
        dtype: np.dtype[Any] = self.type()
        return dtype

    def clone(self, *names: Any) -> Self:
        """A deep copy without the tape, which shares the memory of the fields called `names`.

        One bool is BigDL's `deepCopy`: True as without names, False shares the memory of all
        parameters, gradients and buffers.
        Raises TypeError for a bool among names, and for what is neither, ValueError for a name that
        no module below has.
        """
        if len(names) == 1 and isinstance(names[0], bool):
            return _clone_sharing(self) if not names[0] else copy.deepcopy(self)
        _check_field_names(self, names)
        result: Self = super().clone(*names)  # type: ignore[misc]  # of the mixin Torch7
        return result

    def cloneModule(self) -> Self:
        """A deep copy without results and tape; factors, names and modes are kept."""
        return copy.deepcopy(self)


SHARED = "{name}.clone takes names of fields, or one bool, not {found!r:.40}"
NO_FIELD = "{name}.clone: no module below has a field {field!r}"


def _check_field_names(module: Any, names: tuple[Any, ...]) -> None:
    cls = type(module).__name__
    for name in names:
        if not isinstance(name, str):
            raise TypeError(SHARED.format(name=cls, found=name))
    if not names:
        return
    fields = {
        step
        for part in module.listModules()
        for dotted, value in named_fields(part)
        if isinstance(value, Tensor)
        for step in (dotted, dotted.rpartition(".")[2])
    }
    fields |= {"gradWeight", "gradBias"}
    for name in names:
        if name not in fields:
            raise ValueError(NO_FIELD.format(name=cls, field=name))


def _clone_sharing(module: Any) -> Any:
    result = copy.deepcopy(module)
    for mine, (_, source) in zip(
        [p for _, p in result.named_parameters()], module.named_parameters(), strict=True
    ):
        mine.rebind(array_of(source.detach()), gradient_of(source))
    for mine, (_, source) in zip(
        [b for _, b in result.named_buffers()], module.named_buffers(), strict=True
    ):
        mine._bare = source._bare
    result._drop_traces()
    return result


def _running(name: str) -> str:
    """runningMean for running_mean."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def _table_names(fields: list[str]) -> list[tuple[str, str]]:
    """(name, name of the gradient) for a layer's own parameters."""
    if fields == ["bias"] or set(fields) == {"weight", "bias"}:
        return [(name, f"grad{name.capitalize()}") for name in fields]
    if len(fields) == 1:
        return [("weight", "gradWeight")]
    if len(fields) == 2:
        return [("weight", "gradWeight"), ("bias", "gradBias")]
    if not {"weight", "bias"} & {name.rpartition(".")[2] for name in fields}:
        return [(name, f"grad{name[:1].upper()}{name[1:]}") for name in fields]
    return [(f"weight{i}", f"gradient{i}") for i in range(len(fields))]


def _assign_all(pairs: Iterable[tuple[Tensor, Any]]) -> None:
    with no_grad():
        for mine, theirs in pairs:
            value = theirs.detach() if isinstance(theirs, Tensor) else as_array(theirs, mine.dtype)
            if isinstance(mine, Buffer):
                mine.assign(value)
            else:
                array = devices.to_device(as_array(value), mine.device)
                ops.assign(mine.detach(), array)


def copy_named_weights(
    module: Any, source: Mapping[str, Mapping[str, Operand]], match_all: bool
) -> None:
    """Copy arrays into the layers of the same names, all or none.

    source: {name of the layer: {name of the array: array}}; gradients in it are ignored
    Raises KeyError, ValueError as `loadModelWeights`.
    """
    own = module.getParametersTable() or {}
    missing = [layer for layer in own if layer not in source]
    if match_all and missing:
        layers = ", ".join(missing)
        raise KeyError(ABSENT_LAYER.format(name=type(module).__name__, layers=layers))
    pairs: list[tuple[Tensor, Any]] = []
    for layer, entries in own.items():
        if layer not in source:
            continue
        mine = {key: value for key, value in entries.items() if not key.startswith("grad")}
        theirs = {k: v for k, v in source[layer].items() if not k.startswith("grad")}
        if mine.keys() != theirs.keys():
            raise ValueError(
                f"{type(module).__name__}.loadModelWeights: {layer} has {sorted(mine)}, "
                f"the source's has {sorted(theirs)}"
            )
        for key, value in mine.items():
            if np.shape(theirs[key]) != value.shape:
                raise ValueError(
                    f"{type(module).__name__}.loadModelWeights: {layer}'s {key} has shape "
                    f"{value.shape}, the source's {np.shape(theirs[key])}"
                )
            pairs.append((value, theirs[key]))
    _assign_all(pairs)
