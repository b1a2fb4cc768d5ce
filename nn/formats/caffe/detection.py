"""PriorBox and DetectionOutput of the SSD branch, read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.formats.caffe.fields import SCHEMA
from tapegrad.nn.formats.common.operators import Operator
from tapegrad.nn.layers.detection.proposals import DetectionOutputSSD, PriorBox

if TYPE_CHECKING:
    from tapegrad.nn.formats.caffe.reading import Flow, Reading
    from tapegrad.nn.formats.caffe.writing import Writing

__all__ = ["OPERATORS"]

CENTER_SIZE = 2
IMAGE_SIZE = "the image's size: img_size, or a second bottom whose shape the file says"


def read_prior_box(r: Reading) -> list[Flow]:
    p = r.param("prior_box_param")
    r.needs(1, 2)
    height, width = p.img_h or p.img_size, p.img_w or p.img_size
    image = r.bottoms[-1].shape
    if not height and len(r.bottoms) == 2 and image is not None and len(image) == 4:
        height, width = image[2] or 0, image[3] or 0
    if not height or not width:
        raise r.refusal(IMAGE_SIZE)
    if not p.min_size or len(p.max_size) not in (0, len(p.min_size)):
        raise r.error("min_size, and none or as many max_size", (len(p.min_size), len(p.max_size)))
    sizes = [*p.min_size, *p.max_size, *p.aspect_ratio]
    if len(sizes) > 1000 or min(sizes) <= 0 or len(p.variance) not in (0, 1, 4):
        raise r.error("positive sizes, and one or four variances", sizes[:8])
    layer = PriorBox(
        list(p.min_size),
        list(p.max_size) or None,
        list(p.aspect_ratio) or None,
        isFlip=p.flip,
        isClip=p.clip,
        variances=list(p.variance) or None,
        offset=p.offset,
        imgH=height,
        imgW=width,
        stepH=p.step_h or p.step,
        stepW=p.step_w or p.step,
    )
    shape = r.shape
    count = None
    if shape is not None and len(shape) == 4 and shape[2] is not None and shape[3] is not None:
        boxes = len(p.min_size) * len(layer.aspectRatios) + len(p.max_size)
        count = shape[2] * shape[3] * boxes * 4
    return [r.then(layer, (1, 2, count))]


def write_prior_box(w: Writing, layer: Any) -> list[str]:
    p: dict[str, Any] = {
        "min_size": list(layer.minSizes),
        "max_size": list(layer.maxSizes),
        "aspect_ratio": list(layer.aspectRatios[1:]),  # with the inverses
        "flip": False,
        "clip": layer.isClip,
        "variance": list(layer.variances),
        "img_h": layer.imgH,
        "img_w": layer.imgW,
        "offset": layer.offset,
    }
    if layer.stepH or layer.stepW:
        p |= {"step_h": layer.stepH, "step_w": layer.stepW}
    # Caffe asks for the image as a second bottom, even where its size is said
    return w.put("PriorBox", reads=[w.bottoms[0], w.out.network.inputs[0]], prior_box_param=p)


def read_detections(r: Reading) -> list[Flow]:
    p = r.param("detection_output_param")
    r.needs(3, 3)
    r.positive("num_classes", p.num_classes)
    if p.code_type != CENTER_SIZE:
        raise r.refusal("code_type: CENTER_SIZE", p.code_type)
    nms = p.nms_param
    if nms.eta != 1:
        raise r.refusal("eta: 1", nms.eta)
    layer = DetectionOutputSSD(
        p.num_classes,
        p.share_location,
        p.background_label_id,
        nms.nms_threshold,
        nms.top_k,
        p.keep_top_k,
        p.confidence_threshold,
        p.variance_encoded_in_target,
        confPostProcess=False,
    )
    return [r.then(layer, None, r.bottoms)]


def write_detections(w: Writing, layer: Any) -> list[str]:
    if layer.confPostProcess:
        raise w.refusal("probabilities: a SoftMax layer, and confPostProcess False")
    nms = {"nms_threshold": layer.nmsThresh, "top_k": layer.nmsTopk}
    p = {
        "num_classes": layer.nClasses,
        "share_location": layer.shareLocation,
        "background_label_id": layer.bgLabel,
        "nms_param": SCHEMA.new("NonMaximumSuppressionParameter", **nms),
        "code_type": CENTER_SIZE,
        "keep_top_k": layer.keepTopK,
        "variance_encoded_in_target": layer.varianceEncodedInTarget,
        "confidence_threshold": layer.confThresh,
    }
    return w.put("DetectionOutput", detection_output_param=p)


OPERATORS = [
    Operator("PriorBox", read_prior_box, {PriorBox: write_prior_box}, note="SSD's"),
    Operator(
        "DetectionOutput",
        read_detections,
        {DetectionOutputSSD: write_detections},
        note="SSD's; the result is that of nn.DetectionOutputSSD, a row for each sample",
    ),
]
