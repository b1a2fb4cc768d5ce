"""Examples for autograd/ops/ranks.py; see `cases`.  The laws run on one rank."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall

OPERATIONS = {"sum_over_ranks": lambda d: TrialCall([d.array(d.shape("N? A"))])}
