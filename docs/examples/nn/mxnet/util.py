from tapegrad.nn import mxnet as mx

# %% is_np_array is_np_shape
mx.util.is_np_array()

# %% get_gpu_count
mx.util.get_gpu_count()

# %% getenv setenv
mx.util.setenv("MXNET_EXAMPLE", "1")
mx.util.getenv("MXNET_EXAMPLE")
mx.util.setenv("MXNET_EXAMPLE", None)

# %% makedirs
from pathlib import Path

mx.util.makedirs("runs/first")
Path("runs/first").is_dir()
