"""Layers with hand-written gradients, and the mistakes people make in them, planted on purpose.

`layers` holds correct layers as data: forward and backward are a few lines of array code each.
`bugs` changes them by mutation operators (text for text, a line behind a gradient, a method of the
layer), `tape` does the same to rules of primitives.  `hunting` holds the laws against them.  None
of it is registered anywhere, so no other test meets these layers.
"""
