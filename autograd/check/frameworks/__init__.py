"""What each framework's functions and layers are turned into: a `Pair` of NumPy functions."""
