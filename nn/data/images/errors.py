"""ImageError: an image that cannot be read or does not fit, which makes its feature invalid."""

from __future__ import annotations

from tapegrad.devices import TapegradError

__all__ = ["ImageError"]


class ImageError(TapegradError, ValueError):
    """An image cannot be decoded, or is too small or of the wrong kind for a transformer.

    A transformer catches it: the feature becomes invalid, keeps the text as its `error`, and passes
    through the rest of the pipeline as it is.
    """
