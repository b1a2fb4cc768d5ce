"""tapegrad.nn.formats.mxnet: MXNet's files of arrays, states, records and symbols."""

from tapegrad.nn.formats.mxnet.arrays import load_arrays, read_arrays, save_arrays, write_arrays
from tapegrad.nn.formats.mxnet.files import load, read_symbol, save
from tapegrad.nn.formats.mxnet.idx import read_idx
from tapegrad.nn.formats.mxnet.pictures import decode_image, encode_image
from tapegrad.nn.formats.mxnet.recordio import RecordReader, RecordWriter
from tapegrad.nn.formats.mxnet.states import read_states, write_states
from tapegrad.nn.formats.mxnet.text import read_csv, read_libsvm

__all__ = [
    "RecordReader",
    "RecordWriter",
    "decode_image",
    "encode_image",
    "load",
    "load_arrays",
    "read_arrays",
    "read_csv",
    "read_idx",
    "read_libsvm",
    "read_states",
    "read_symbol",
    "save",
    "save_arrays",
    "write_arrays",
    "write_states",
]
