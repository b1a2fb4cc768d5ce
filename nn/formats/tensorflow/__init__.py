"""TensorFlow's frozen graphs as modules, and modules as graphs."""

from tapegrad.nn.formats.tensorflow.files import load, loadTF

__all__ = ["load", "loadTF"]
