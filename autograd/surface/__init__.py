"""Operators, array methods and NumPy's protocols of Tensors."""
