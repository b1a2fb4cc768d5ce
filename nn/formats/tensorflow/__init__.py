"""TensorFlow's frozen graphs as modules, and modules as graphs."""

from tapegrad.nn.formats.tensorflow.files import load, loadTF
from tapegrad.nn.formats.tensorflow.saving import saveTF

__all__ = ["load", "loadTF", "saveTF"]
