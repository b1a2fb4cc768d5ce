from pathlib import Path

import numpy as np

from tapegrad.nn import mxnet as mx

# %% DataDesc
desc = mx.io.DataDesc("data", (32, 3, 28, 28))
desc, desc.name, desc.layout

# %% DataBatch
batch = mx.io.DataBatch([mx.nd.ones((4, 2))], [mx.nd.zeros((4,))], pad=1)
batch.data[0].shape, batch.pad


# %% DataIter
class Countdown(mx.io.DataIter):
    def __init__(self):
        super().__init__(batch_size=2)
        self.reset()

    def reset(self):
        self.left = 2

    def next(self):
        if not self.left:
            raise StopIteration
        self.left -= 1
        return mx.io.DataBatch([mx.nd.ones((2,)) * self.left])


[batch.data[0].asnumpy() for batch in Countdown()]

# %% CSVIter
_ = Path("x.csv").write_text("1,2\n3,4\n5,6\n7,8\n")
batches = mx.io.CSVIter("x.csv", data_shape=(2,), batch_size=2)
[batch.data[0].asnumpy() for batch in batches]

# %% LibSVMIter
_ = Path("x.svm").write_text("1 0:0.5 2:1.5\n0 1:2.0\n")
batch = next(mx.io.LibSVMIter("x.svm", data_shape=(3,), batch_size=2))
batch.data[0].asnumpy(), batch.label[0].asnumpy()


# %% MXDataIter
class Squares(mx.io.MXDataIter):
    def _rows(self):
        for n in range(5):
            yield n, np.float32(n * n), np.float32(n % 2)


[(batch.data[0].asnumpy(), batch.pad) for batch in Squares(batch_size=2)]

# %% ResizeIter
few = mx.io.NDArrayIter(np.arange(4.0), batch_size=2)
[batch.data[0].asnumpy() for batch in mx.io.ResizeIter(few, 3)]

# %% PrefetchingIter
batches = mx.io.PrefetchingIter(mx.io.NDArrayIter(np.arange(4.0), batch_size=2))
[batch.data[0].asnumpy() for batch in batches]

# %% ImageRecordIter ImageRecordUInt8Iter
records = mx.recordio.MXIndexedRecordIO("all.idx", "all.rec", "w")
for n in range(2):
    picture = np.full((4, 6, 3), 100 * n, np.uint8)
    records.write_idx(n, mx.recordio.pack_img((0, float(n), n, 0), picture, img_fmt=".png"))
records.close()
batch = next(mx.io.ImageRecordIter("all.rec", data_shape=(3, 4, 4), batch_size=2))
batch.data[0].shape, batch.data[0].dtype, batch.label[0].asnumpy()
