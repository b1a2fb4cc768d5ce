"""Plain weights, arrays by name without a model: .npz, PyTorch's .pt, Keras' .h5."""

from tapegrad.nn.formats.weights.files import load, save
from tapegrad.nn.formats.weights.keras import from_keras

__all__ = ["from_keras", "load", "save"]
