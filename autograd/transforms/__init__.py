"""Transformations of functions: derivatives, batches of samples, checkpoints.

`tapegrad.autograd` hands their names on.
"""
