"""Transformations of functions: derivatives, batches of samples, checkpoints."""
