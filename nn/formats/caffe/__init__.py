"""nn.formats.caffe: Caffe's definitions (.prototxt) and models (.caffemodel), in and out."""

from tapegrad.nn.formats.caffe.files import load, load_caffe, load_caffe_model, save, save_caffe

__all__ = ["load", "load_caffe", "load_caffe_model", "save", "save_caffe"]
