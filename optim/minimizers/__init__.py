"""Minimizers of a whole function, which decide by the values that they meet."""
