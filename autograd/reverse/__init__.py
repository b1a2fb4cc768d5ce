"""The reverse sweep, and writes into Tensors, which are recorded for it."""
