from tapegrad.nn import mxnet as mx

# %% draw_normal draw_uniform
mx.random.draw_normal(0, 1, (2, 3))
