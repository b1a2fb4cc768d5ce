"""Images: features, frames, and their transformers, on Pillow and NumPy."""

from typing import TYPE_CHECKING

from tapegrad.nn.data.images import boxes, color, convert, crop, frame, geometry
from tapegrad.nn.data.images.batch import MTImageFeatureToBatch as MTImageFeatureToBatch
from tapegrad.nn.data.images.boxes import *
from tapegrad.nn.data.images.color import *
from tapegrad.nn.data.images.convert import *
from tapegrad.nn.data.images.crop import *
from tapegrad.nn.data.images.display import PipelinePicture as PipelinePicture
from tapegrad.nn.data.images.display import picture_pipeline as picture_pipeline
from tapegrad.nn.data.images.errors import ImageError as ImageError
from tapegrad.nn.data.images.feature import ImageFeature as ImageFeature
from tapegrad.nn.data.images.frame import *
from tapegrad.nn.data.images.geometry import *
from tapegrad.nn.data.images.prediction import evaluate_image as evaluate_image
from tapegrad.nn.data.images.prediction import predict_image as predict_image
from tapegrad.nn.data.images.roi import RoiLabel as RoiLabel
from tapegrad.nn.data.images.transformer import FeaturePipeline as FeaturePipeline
from tapegrad.nn.data.images.transformer import FeatureTransformer as FeatureTransformer
from tapegrad.nn.data.images.transformer import RandomTransformer as RandomTransformer

if not TYPE_CHECKING:  # type checkers follow the star imports, and cannot join such lists
    __all__ = [
        "FeaturePipeline",
        "FeatureTransformer",
        "ImageError",
        "ImageFeature",
        "MTImageFeatureToBatch",
        "PipelinePicture",
        "RandomTransformer",
        "RoiLabel",
        "evaluate_image",
        "picture_pipeline",
        "predict_image",
        *boxes.__all__,
        *color.__all__,
        *convert.__all__,
        *crop.__all__,
        *frame.__all__,
        *geometry.__all__,
    ]
