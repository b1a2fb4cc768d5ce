"""The operators of MXNet, by family; importing this room declares them all."""

from tapegrad.nn.mxnet.operators import arranging as arranging
from tapegrad.nn.mxnet.operators import boxes as boxes
from tapegrad.nn.mxnet.operators import choosing as choosing
from tapegrad.nn.mxnet.operators import colours as colours
from tapegrad.nn.mxnet.operators import convolution as convolution
from tapegrad.nn.mxnet.operators import creation as creation
from tapegrad.nn.mxnet.operators import densities as densities
from tapegrad.nn.mxnet.operators import drawing as drawing
from tapegrad.nn.mxnet.operators import elementwise as elementwise
from tapegrad.nn.mxnet.operators import gradients as gradients
from tapegrad.nn.mxnet.operators import images as images
from tapegrad.nn.mxnet.operators import losses as losses
from tapegrad.nn.mxnet.operators import matrices as matrices
from tapegrad.nn.mxnet.operators import normalization as normalization
from tapegrad.nn.mxnet.operators import patches as patches
from tapegrad.nn.mxnet.operators import places as places
from tapegrad.nn.mxnet.operators import pooling as pooling
from tapegrad.nn.mxnet.operators import proposals as proposals
from tapegrad.nn.mxnet.operators import quantization as quantization
from tapegrad.nn.mxnet.operators import recurrent as recurrent
from tapegrad.nn.mxnet.operators import reduction as reduction
from tapegrad.nn.mxnet.operators import regions as regions
from tapegrad.nn.mxnet.operators import sampling as sampling
from tapegrad.nn.mxnet.operators import unary as unary
from tapegrad.nn.mxnet.operators import updates as updates
