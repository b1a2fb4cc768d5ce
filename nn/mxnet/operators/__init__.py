"""The operators of MXNet, by family; importing this room declares them all."""

from tapegrad.nn.mxnet.operators import elementwise as elementwise
from tapegrad.nn.mxnet.operators import layers as layers
from tapegrad.nn.mxnet.operators import losses as losses
