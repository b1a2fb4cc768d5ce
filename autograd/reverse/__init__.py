"""The reverse sweep, and the writes into Tensors that are recorded for it."""
