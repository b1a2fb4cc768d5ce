"""Models of other systems' files, by BigDL's names: static methods of Module.

The formats are rooms above the modules; these ask for them by name (`core.services`).
"""

from __future__ import annotations

import os
from typing import Any

from tapegrad.nn.core.part import Part
from tapegrad.nn.core.services import service

__all__ = ["Loading"]

Path = str | os.PathLike[str]


class Loading(Part):
    """What `nn.load` does, for formats of several files, and weights alone."""

    @staticmethod
    def loadCaffe(
        model: Any, defPath: Path | None, modelPath: Path, matchAll: bool = True, **options: Any
    ) -> Any:
        """Copy the weights of Caffe's files into the layers of `model` that have the same names.

        matchAll: whether each layer of `model` with parameters must be in the files
        options:  limits=nn.formats.Limits(…)
        Returns `model`.  Raises KeyError for layers that the files lack, ValueError for other
        shapes, FormatError for the files; nothing is changed then.
        """
        return service("load_caffe")(model, defPath, modelPath, matchAll, **options)

    @staticmethod
    def loadCaffeModel(defPath: Path | None, modelPath: Path | None, **options: Any) -> Any:
        """The module that Caffe's two files describe: a definition, and a model with weights.

        options: those of `nn.formats.caffe.load_caffe_model`.  Raises FormatError or one of its
        children, OSError for the files themselves.
        """
        return service("load_caffe_model")(defPath, modelPath, **options)
