from tapegrad.nn import mxnet as mx

# %% bulk
with mx.engine.bulk(30):
    print(mx.engine.set_bulk_size(30))

# %% set_bulk_size
before = mx.engine.set_bulk_size(20)
mx.engine.set_bulk_size(before)
