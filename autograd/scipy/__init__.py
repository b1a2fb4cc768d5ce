"""tapegrad.scipy: SciPy's functions on Tensors, under SciPy's names, module by module.

SciPy itself is imported when a function first needs it.
"""
