import numpy as np

from tapegrad import nn
from tapegrad.nn.formats import caffe

model = nn.Sequential(nn.SpatialConvolution(1, 2, 3, 3).setName("conv"), nn.ReLU())

# %% load save
_ = model.forward(np.ones((1, 1, 6, 6), np.float32))
caffe.save(model, "model.caffemodel")
caffe.load("model.caffemodel")

# %% load_caffe save_caffe
caffe.save_caffe(model, "net.prototxt", "net.caffemodel", inputs=(1, 1, 6, 6))
other = nn.Sequential(nn.SpatialConvolution(1, 2, 3, 3).setName("conv"), nn.ReLU())
other = caffe.load_caffe(other, "net.prototxt", "net.caffemodel")
np.array_equal(other[0].weight, model[0].weight)

# %% load_caffe_model
caffe.save_caffe(model, "net.prototxt", "net.caffemodel", inputs=(1, 1, 6, 6))
caffe.load_caffe_model("net.prototxt", "net.caffemodel")
