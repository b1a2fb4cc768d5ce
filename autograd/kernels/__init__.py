"""Kernels are the array code of primitives that take most of the time of a network.

`convolution.py` and `pooling.py` are plain functions of an array namespace `xp` and its arrays;
`tapegrad.autograd.ops` declares the primitives that call them.  `fast_convolution.py` and
`fast_pooling.py` do the same for NumPy's arrays by machine code, and are held to the plain ones:
`vector_code.py` writes it, `machine.py` compiles it, `threads.py` runs it on several threads.
"""
