import io

import numpy as np

from tapegrad.nn.formats import safetensors_file

# %% parse_json
safetensors_file.parse_json('{"a": [1, 2.5]}')

# %% read write
stream = io.BytesIO()
safetensors_file.write(stream, {"w": np.array([1.0, 2.0])}, {"epoch": "3"})
safetensors_file.read(stream.getvalue())
