"""nn.formats.caffe: Caffe's definitions (.prototxt) and models (.caffemodel), in and out."""

from tapegrad.nn.formats.caffe import entry
from tapegrad.nn.formats.caffe.files import load, load_caffe, load_caffe_model, save, save_caffe

_ = entry  # which enters the format in the table

__all__ = ["load", "load_caffe", "load_caffe_model", "save", "save_caffe"]
