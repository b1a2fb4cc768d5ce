"""tapegrad.nn.formats.onnx: models in ONNX's format, written from recorded calls, and read."""

from tapegrad.nn.formats.onnx.files import export, load, read_model, save
from tapegrad.nn.formats.onnx.importing import module_of
from tapegrad.nn.formats.onnx.running import OnnxGraph

__all__ = ["OnnxGraph", "export", "load", "module_of", "read_model", "save"]
