"""The engine: Tensors, nodes, how a primitive is declared and called.  It knows no operation."""
