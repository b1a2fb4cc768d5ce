from pathlib import Path

import numpy as np

from tapegrad.nn import mxnet as mx
from tapegrad.nn.formats import mxnet as files

# %% RecordReader RecordWriter
records = files.RecordWriter("all.rec")
records.write(b"first")
records.write(b"second")
records.close()
records = files.RecordReader("all.rec")
records.read(), records.read(), records.read()

# %% encode_image decode_image
picture = np.zeros((2, 3, 3), np.uint8)
file = files.encode_image(picture, ending=".png", quality=9)
files.decode_image(file).shape

# %% load save
net = mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=2, name="fc")
weights = {"fc_weight": np.ones((2, 3), np.float32), "fc_bias": np.zeros(2, np.float32)}
files.save(mx.SymbolModule(net, weights), "net-0000.params")
files.load("net-0000.params")(np.ones((1, 3), np.float32))

# %% load_arrays save_arrays
files.save_arrays("weights.params", {"w": mx.nd.ones((2,))})
files.load_arrays("weights.params")

# %% read_arrays write_arrays
data = files.write_arrays([mx.nd.ones((2,))], ["w"])
len(data), files.read_arrays(data)

# %% read_csv
_ = Path("x.csv").write_text("1,2\n3,4\n")
files.read_csv("x.csv")

# %% read_idx
head = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3])  # unsigned bytes, 2 axes of lengths 2 and 3
_ = Path("images.idx").write_bytes(head + bytes(range(6)))
files.read_idx("images.idx")

# %% read_libsvm
_ = Path("x.svm").write_text("1 0:0.5 2:1.5\n0 1:2.0\n")
files.read_libsvm("x.svm", columns=3)

# %% read_states write_states
data = files.write_states({0: mx.nd.ones((2,))})
files.read_states(data)

# %% read_symbol
net = mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=2, name="fc")
files.read_symbol(net.tojson().encode()).list_arguments()
