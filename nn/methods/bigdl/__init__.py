"""BigDL's methods of a module: names, factors, weights by name, times, shapes, predict, files.

They are those of BigDL's AbstractModule, with its names and the meaning that conflicts.md decides;
DIFFERENCES.md lists which of the original's bugs are not copied.  Every method has a Python
spelling too (`spellings`).  The mixins have no state: what a module remembers are attributes that
`Part` declares, or slots of its transient state.
"""

from tapegrad.nn.methods.bigdl.spellings import BigDL

__all__ = ["BigDL"]
