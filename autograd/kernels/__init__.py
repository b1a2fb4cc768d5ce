"""Kernels are the array code of primitives that take most of the time of a network.

They are plain functions of an array namespace `xp` and its arrays; `tapegrad.autograd.ops` declares
the primitives that call them.  Faster bodies of the same operations are tested against them.
"""
