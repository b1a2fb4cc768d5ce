"""What a Tensor answers: operators, array methods, NumPy's protocols."""
