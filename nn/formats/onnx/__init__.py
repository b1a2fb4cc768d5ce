"""tapegrad.nn.formats.onnx: models in ONNX's format, written from recorded calls, and read."""

from tapegrad.nn.formats.onnx.files import export, load, read_model, save
from tapegrad.nn.formats.onnx.importing import build_module
from tapegrad.nn.formats.onnx.running import OnnxGraph

__all__ = ["OnnxGraph", "export", "load", "build_module", "read_model", "save"]
