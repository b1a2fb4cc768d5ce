"""tapegrad.nn.formats.onnx: models in ONNX's format, written from recorded calls, and read."""
