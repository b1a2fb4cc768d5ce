"""Layers with hand-written gradients, and the mistakes people make in them, planted on purpose.

`layers` holds correct layers as data: forward and backward are a few lines of array code each.
`bugs` changes them by mutation operators (text for text, a line behind a gradient, a method of the
layer), `tape` does the same to rules of primitives.  `hunting` holds the laws against them.  None
of it is registered anywhere, so no other test meets these layers.

The same for PyTorch: `torch_kinds` holds correct layers, `torch_faults` what is wrong in others,
`torch_differences` proves that each fault is one, and `torch_hunting` holds the laws against them.
"""
