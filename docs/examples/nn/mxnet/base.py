import numpy as np

from tapegrad.nn import mxnet as mx

# %% integer_types
isinstance(np.int32(3), mx.base.integer_types), isinstance(3.0, mx.base.integer_types)

# %% numeric_types
isinstance(np.float32(3), mx.base.numeric_types), isinstance("3", mx.base.numeric_types)

# %% string_types
isinstance("data", mx.base.string_types)
