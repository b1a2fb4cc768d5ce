"""The laws held against other libraries: tables of subjects, a runner, and a table of causes.

`python -m tests.nightly laws_torch_modules` (`laws_torch_functions`, `laws_hips`, `laws_jax`) runs
one library and counts what the laws say, by class of cause.
"""
