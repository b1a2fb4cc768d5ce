"""Laws of functions with a gradient written by hand, over bare NumPy arrays.

These laws use no Tensors, so they apply to NumPy functions and, through torch.py, to the layers of
PyTorch.  Each file holds a table of the laws about one subject.
"""

from tapegrad.autograd.check.function_laws import calls, data, derivatives
from tapegrad.autograd.check.laws import join_laws

__all__ = ["FUNCTION_LAWS"]

FUNCTION_LAWS = join_laws("function", calls.LAWS, derivatives.LAWS, data.LAWS)
