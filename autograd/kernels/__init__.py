"""Array bodies of the hot primitives, apart from the primitives themselves.

Plain functions over an array namespace `xp` and its arrays; `tapegrad.autograd.ops` declares the
primitives that call them.  They are the oracle for faster bodies of the same operations.
"""
