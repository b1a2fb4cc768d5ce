"""Using a model: predict, evaluate, quantize, and files.

The work is done in rooms above the modules; these methods ask for it by name (`core.services`).
"""

from __future__ import annotations

import os
from typing import Any, Self

from tapegrad.nn.core import files
from tapegrad.nn.core.part import Part
from tapegrad.nn.core.places import exists
from tapegrad.nn.core.services import service
from tapegrad.nn.methods.bigdl.weights import copy_named_weights

__all__ = ["Use"]

NO_METHODS = (
    "{name}.evaluate(data, methods, batchSize=None) takes data and validation methods; "
    "{name}.evaluate() sets evaluation mode"
)
EXISTS = "{name}.{method}: {path} exists; overWrite=True replaces it"
NO_FLAG = "{name}.{method}: overWrite is True or False, not {found!r:.40}"


class Use(Part):
    """Predictions, measures and files of a whole model."""

    def predict(
        self, data: Any, batchSize: int = -1, shareBuffer: bool = False, **options: Any
    ) -> Any:
        """The outputs for `data`, sample by sample, in evaluation mode; see `nn.data`.

        batchSize: -1 for a size of its own choosing.  shareBuffer: True gives an iterator, whose
        results lie in one memory that the next batch overwrites.  Every mode is put back.
        options: of `nn.data`, such as ``progress=True``
        """
        return service("predict")(self, data, batchSize, shareBuffer, **options)

    def predictClass(self, data: Any, batchSize: int = -1, **options: Any) -> Any:
        """The class of each sample, from 0: where its output is largest, the first of equals.

        Arguments as `predict`'s.
        """
        return service("predict_class")(self, data, batchSize, **options)

    def predictImage(
        self,
        imageFrame: Any,
        outputLayer: str | None = None,
        shareBuffer: bool = False,
        batchPerPartition: int = 4,
        predictKey: str = "predict",
        featurePaddingParam: Any = None,
    ) -> Any:
        """`imageFrame` with the output for each valid image, under the key `predictKey`.

        outputLayer: the name of the layer whose output is wanted in place of the model's
        """
        return service("predict_image")(
            self,
            imageFrame,
            outputLayer,
            shareBuffer,
            batchPerPartition,
            predictKey,
            featurePaddingParam,
        )

    def evaluate(self, *data: Any, **named: Any) -> Any:
        """Without arguments: set evaluation mode, here and in all modules below; returns self.

        ``evaluate(data, methods, batchSize=None)``: [(result, method), …] of the validation methods
        on the data, in evaluation mode; every mode is put back.  Further arguments by name are
        options of `nn.data`.
        Raises TypeError for data without methods.
        """
        if not data and not named:
            evaluated: Self = super().evaluate()  # type: ignore[misc]  # of the mixin Torch7
            return evaluated
        given = dict(zip(("dataset", "vMethods", "batchSize"), data, strict=False))
        if len(data) > 3 or given.keys() & named.keys():
            raise TypeError(NO_METHODS.format(name=type(self).__name__))
        given |= {_EVALUATE.get(key, key): value for key, value in named.items()}
        if isinstance(given.get("vMethods"), int):  # the batch size may come before the methods
            given["vMethods"], given["batchSize"] = given.get("batchSize"), given["vMethods"]
        dataset, methods = given.pop("dataset", None), given.pop("vMethods", None)
        batch_size = given.pop("batchSize", None)
        if dataset is None or methods is None:
            raise TypeError(NO_METHODS.format(name=type(self).__name__))
        return service("evaluate")(self, dataset, methods, batch_size, **given)

    def evaluateImage(
        self, imageFrame: Any, vMethods: Any, batchSize: int | None = None, **options: Any
    ) -> Any:
        """`evaluate(data, methods)` on the valid images of a frame."""
        return service("evaluate_image")(self, imageFrame, vMethods, batchSize, **options)

    def quantize(self) -> Any:
        """A new model in evaluation mode, whose layers multiply by weights of 8 bits.

        This model stays as it is.
        """
        return service("quantize")(self)

    # Files ----------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], overWrite: bool = True) -> Self:
        """Write the module to a file that `nn.load` reads; returns self.

        The ending of the name chooses the format: ".t7" Torch7's (nn.formats.torch7), an unknown
        one a safetensors file of our own (nn.formats.native).  overWrite: False refuses to replace
        a file.  Results stay, and so does the caller's own input.
        Raises FileExistsError for a file that may not be replaced, TypeError for an overWrite that
        is no bool, UnsupportedError for what the format cannot hold.
        """
        _check_free(self, "save", path, overWrite)
        files.save(self, path)
        return self

    def saveModule(
        self,
        path: str | os.PathLike[str],
        weightPath: str | os.PathLike[str] | None = None,
        overWrite: bool = False,
    ) -> Self:
        """Write the module in BigDL's format; returns self.

        weightPath: a file of its own for the arrays.  Raises FileExistsError as `save`.
        """
        for each in (path, weightPath):
            if each is not None:
                _check_free(self, "saveModule", each, overWrite)
        service("save_module")(self, path, weightPath)
        return self

    def saveDefinition(self, path: str | os.PathLike[str], overWrite: bool = False) -> Self:
        """Write BigDL's text of the module, without arrays; returns self.

        Raises FileExistsError as `save`.
        """
        _check_free(self, "saveDefinition", path, overWrite)
        service("save_definition")(self, path)
        return self

    def saveTorch(self, path: str | os.PathLike[str], overWrite: bool = False) -> Self:
        """Write a Torch7 file, whatever the ending of its name; returns self.

        Raises FileExistsError as `save`, UnsupportedError for what Torch7 does not have.
        """
        _check_free(self, "saveTorch", path, overWrite)
        service("save_torch")(self, path)
        return self

    def saveCaffe(
        self,
        prototxtPath: str | os.PathLike[str],
        modelPath: str | os.PathLike[str],
        useV2: bool = True,
        overwrite: bool = False,
        inputs: Any = None,
    ) -> Self:
        """Write the module as Caffe's two files; returns self.

        useV2: False writes layers of Caffe's first format
        inputs: an example of the input or its shape, with the batch, (1, 3, 224, 224), or a list of
        several, for layers whose words depend on shapes, and for Caffe itself, which asks for them;
        a graph can be written without, as BigDL does
        Raises FileExistsError as `save`, UnsupportedError for layers that Caffe does not have.
        """
        for each in (prototxtPath, modelPath):
            _check_free(self, "saveCaffe", each, overwrite)
        example = [] if inputs is None else [inputs]
        service("save_caffe")(self, prototxtPath, modelPath, useV2, *example)
        return self

    def saveTF(
        self,
        inputs: Any,
        path: str | os.PathLike[str],
        byteOrder: str = "little",
        dataFormat: str = "NHWC",
        overWrite: bool = True,
    ) -> Self:
        """Write the module as a TensorFlow graph; returns self.

        inputs: [(name, shape), …].  Raises FileExistsError as `save`.
        """
        _check_free(self, "saveTF", path, overWrite)
        service("save_tf")(self, inputs, path, byteOrder, dataFormat)
        return self

    def saveWeights(self, path: str | os.PathLike[str], overWrite: bool = False) -> None:
        """Write parameters and buffers by the names of their layers, for `loadWeights`.

        The file is a safetensors file with arrays called "layer/weight"; a module without arrays
        gives a file without.  Raises FileExistsError as `save`.
        """
        _check_free(self, "saveWeights", path, overWrite)
        service("save_weights")(self.getParametersTable() or {}, path)

    def loadWeights(self, path: str | os.PathLike[str], matchAll: bool = True) -> Self:
        """Copy what `saveWeights` wrote into the layers of the same names; returns self.

        Layers in the file alone are ignored.  Raises KeyError, if matchAll, for layers that the
        file lacks, ValueError for other shapes and for arrays that only one of two layers has,
        FormatError for the file; nothing is changed then.
        """
        copy_named_weights(self, service("load_weights")(path), matchAll)
        return self

    getParametersTable: Any  # of the mixin Weights


_EVALUATE = {"data": "dataset", "methods": "vMethods", "batch_size": "batchSize"}


def _check_free(module: Any, method: str, path: Any, overwrite: Any) -> None:
    name = type(module).__name__
    if not isinstance(overwrite, bool):
        raise TypeError(NO_FLAG.format(name=name, method=method, found=overwrite))
    if not overwrite and isinstance(path, (str, os.PathLike)) and exists(path):
        raise FileExistsError(EXISTS.format(name=name, method=method, path=os.fspath(path)))
