"""The Python spelling of every method of BigDL's: ``m.set_name`` is ``m.setName``.

A spelling looks the method up on the instance, so that a class that overrides `quantize` is asked
under both names.  `tests/test_bigdl_methods.py` derives the spellings from the methods, and fails
for one that is missing here.  The last two are Torch7's methods, as BigDL's Python API spells them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from tapegrad.nn.methods.bigdl.loading import Loading
from tapegrad.nn.methods.bigdl.naming import Naming
from tapegrad.nn.methods.bigdl.running import Running
from tapegrad.nn.methods.bigdl.use import Use
from tapegrad.nn.methods.bigdl.weights import Weights
from tapegrad.nn.methods.torch7 import Torch7

__all__ = ["BigDL", "python_spelling"]

F = TypeVar("F", bound=Callable[..., Any])


class _Spelling:
    """A method under a second name."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.name = method.__name__
        self.__doc__ = f"`{self.name}`, in Python's spelling.\n\n{method.__doc__ or ''}"
        self.__wrapped__ = method

    def __get__(self, instance: Any, owner: type) -> Any:
        return getattr(owner if instance is None else instance, self.name)


def spelled(method: F) -> F:
    """`method`, to stand under a second name; type checkers see the method itself."""
    spelling: Any = _Spelling(method)
    result: F = spelling
    return result


def python_spelling(name: str) -> str:
    """set_scale_w for setScaleW, set_w_regularizer for setWRegularizer, save_tf for saveTF."""
    return re.sub("(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


class BigDL(Naming, Weights, Running, Use, Loading):
    """BigDL's methods of a module, and their Python spellings."""

    set_name = spelled(Naming.setName)
    get_name = spelled(Naming.getName)
    has_name = spelled(Naming.hasName)
    un_freeze = spelled(Naming.unFreeze)
    set_line = spelled(Naming.setLine)
    to_string = spelled(Naming.toString)
    set_scale_w = spelled(Weights.setScaleW)
    set_scale_b = spelled(Weights.setScaleB)
    get_scale_w = spelled(Weights.getScaleW)
    get_scale_b = spelled(Weights.getScaleB)
    set_w_regularizer = spelled(Weights.setWRegularizer)
    set_b_regularizer = spelled(Weights.setBRegularizer)
    set_u_regularizer = spelled(Weights.setURegularizer)
    set_init_method = spelled(Weights.setInitMethod)
    get_weights_bias = spelled(Weights.getWeightsBias)
    set_weights_bias = spelled(Weights.setWeightsBias)
    get_extra_parameter = spelled(Weights.getExtraParameter)
    set_extra_parameter = spelled(Weights.setExtraParameter)
    get_parameters_table = spelled(Weights.getParametersTable)
    load_model_weights = spelled(Weights.loadModelWeights)
    get_numeric_type = spelled(Weights.getNumericType)
    clone_module = spelled(Weights.cloneModule)
    reset_times = spelled(Running.resetTimes)
    get_times = spelled(Running.getTimes)
    get_times_group_by_module_type = spelled(Running.getTimesGroupByModuleType)
    get_input_shape = spelled(Running.getInputShape)
    get_output_shape = spelled(Running.getOutputShape)
    is_training = spelled(Running.isTraining)
    to_graph = spelled(Running.toGraph)
    set_input_formats = spelled(Running.setInputFormats)
    set_output_formats = spelled(Running.setOutputFormats)
    predict_class = spelled(Use.predictClass)
    predict_image = spelled(Use.predictImage)
    evaluate_image = spelled(Use.evaluateImage)
    load_caffe = spelled(Loading.loadCaffe)
    load_caffe_model = spelled(Loading.loadCaffeModel)
    save_module = spelled(Use.saveModule)
    save_definition = spelled(Use.saveDefinition)
    save_torch = spelled(Use.saveTorch)
    save_caffe = spelled(Use.saveCaffe)
    save_tf = spelled(Use.saveTF)
    save_weights = spelled(Use.saveWeights)
    load_weights = spelled(Use.loadWeights)
    update_parameters = spelled(Torch7.updateParameters)
    zero_grad_parameters = spelled(Torch7.zeroGradParameters)
