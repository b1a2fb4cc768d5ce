"""Samples, mini-batches, data sets and images, and what a model runs over: predict and evaluate."""

from typing import TYPE_CHECKING, NoReturn

from tapegrad.nn.data import dask as dask  # enters its back end
from tapegrad.nn.data import dataset, images, loading, transformer
from tapegrad.nn.data import spark as spark  # enters its back end
from tapegrad.nn.data.backends import DataBackend as DataBackend
from tapegrad.nn.data.backends import Job as Job
from tapegrad.nn.data.backends import register_backend as register_backend
from tapegrad.nn.data.dataset import *
from tapegrad.nn.data.images import *
from tapegrad.nn.data.loading import *
from tapegrad.nn.data.minibatch import DefaultPadding as DefaultPadding
from tapegrad.nn.data.minibatch import FixedLength as FixedLength
from tapegrad.nn.data.minibatch import MiniBatch as MiniBatch
from tapegrad.nn.data.minibatch import PaddingLongest as PaddingLongest
from tapegrad.nn.data.minibatch import PaddingParam as PaddingParam
from tapegrad.nn.data.prediction import evaluate as evaluate
from tapegrad.nn.data.prediction import predict as predict
from tapegrad.nn.data.prediction import predict_class as predict_class
from tapegrad.nn.data.randomness import draw_from as draw_from
from tapegrad.nn.data.sample import Sample as Sample
from tapegrad.nn.data.sharded_files import SampleFiles as SampleFiles
from tapegrad.nn.data.transformer import *
from tapegrad.nn.data.transformer import DataTransformer as Transformer  # BigDL's name
from tapegrad.nn.methods.advice import absent_data

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        "DataBackend",
        "DefaultPadding",
        "FixedLength",
        "Job",
        "MiniBatch",
        "PaddingLongest",
        "PaddingParam",
        "Sample",
        "SampleFiles",
        "Transformer",
        "draw_from",
        "evaluate",
        "predict",
        "predict_class",
        "register_backend",
        *dataset.__all__,
        *images.__all__,
        *loading.__all__,
        *transformer.__all__,
    ]


def __getattr__(name: str) -> NoReturn:
    raise absent_data(name, list(globals()))
