"""The layers that cannot be written as ONNX, each with the reason."""

from __future__ import annotations

__all__ = ["WITHOUT_ONNX"]

_BOXES = "boxes are chosen by their scores, and how many there are depends on them"
_SPARSE = "sparse arrays are read as values"

WITHOUT_ONNX = {
    "BoxHead": _BOXES,
    "DenseToSparse": _SPARSE,
    "DetectionOutputFrcnn": _BOXES,
    "DetectionOutputSSD": _BOXES,
    "GaussianSampler": "it draws random numbers in evaluation mode too",
    "LookupTableSparse": _SPARSE,
    "MaskHead": _BOXES,
    "Pooler": "which level of a pyramid a region is taken from depends on its size",
    "Proposal": _BOXES,
    "RegionProposal": _BOXES,
    "SequenceBeamSearch": "how many steps it takes depends on the scores",
    "SparseJoinTable": _SPARSE,
    "SpectralNorm": "ONNX has no singular values",
}
