import numpy as np

from tapegrad.nn import mxnet as mx

picture = np.zeros((4, 6, 3), np.uint8)

# %% MXRecordIO
records = mx.recordio.MXRecordIO("all.rec", "w")
records.write(b"first")
records.write(b"second")
records.close()
records = mx.recordio.MXRecordIO("all.rec", "r")
records.read(), records.read(), records.read()

# %% MXIndexedRecordIO
records = mx.recordio.MXIndexedRecordIO("all.idx", "all.rec", "w")
for key in range(3):
    records.write_idx(key, b"record %d" % key)
records.close()
records = mx.recordio.MXIndexedRecordIO("all.idx", "all.rec", "r")
records.read_idx(2), records.keys

# %% IRHeader pack unpack
record = mx.recordio.pack(mx.recordio.IRHeader(0, 4.0, 7, 0), b"any bytes")
mx.recordio.unpack(record)

# %% pack_img unpack_img
record = mx.recordio.pack_img((0, 1.0, 0, 0), picture, img_fmt=".png")
header, found = mx.recordio.unpack_img(record)
header.label, found.shape

# %% RecordShard
records = mx.recordio.MXIndexedRecordIO("all.idx", "all.rec", "w")
for key in range(3):
    records.write_idx(key, mx.recordio.pack((0, key, key, 0), np.full(2, key, "<f4").tobytes()))
records.close()


def decode(record):
    header, values = mx.recordio.unpack(record)
    return np.frombuffer(values, "<f4"), np.int64(header.label)


shard = mx.recordio.RecordShard("all.idx", "all.rec", decode)
shard.read(1, 3)
