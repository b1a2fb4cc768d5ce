"""BigDL's own formats: models (.bigdl), weights beside them, definitions in text."""

from tapegrad.nn.formats.bigdl.files import load as load
from tapegrad.nn.formats.bigdl.files import load_definition as load_definition
from tapegrad.nn.formats.bigdl.files import save as save
from tapegrad.nn.formats.bigdl.files import save_definition as save_definition

__all__ = ["load", "load_definition", "save", "save_definition"]
