"""tapegrad.nn.formats.mxnet: MXNet's files of arrays, states, records and symbols."""

from tapegrad.nn.formats.mxnet.arrays import load_arrays, read_arrays, save_arrays, write_arrays
from tapegrad.nn.formats.mxnet.states import read_states, write_states

__all__ = [
    "load_arrays",
    "read_arrays",
    "read_states",
    "save_arrays",
    "write_arrays",
    "write_states",
]
