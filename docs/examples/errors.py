import numpy as np

import tapegrad as tg
from tapegrad import errors, nn, optim
from tapegrad.autograd import check
from tapegrad.autograd.check import check_gradients, check_module
from tapegrad.nn import data
from tapegrad.nn import mxnet as mx

# %% BatchingError
tg.vmap(lambda x: x if x > 0 else -x)(np.array([1.0, -1.0]))

# %% CaptureError
from tapegrad import devices


class Refusing(devices.Launcher):
    """Of a library that records no product of matrices."""

    def capture(self, run):
        raise errors.CaptureError("a product of matrices cannot be recorded")


Refusing().capture(lambda: None)

# %% CheckError
check_gradients(lambda x: np.round(x).astype(int), np.ones(2))

# %% UsageError
check_module(nn.Tanh, input="N C", isolate=0)

# %% CheckpointError
calls = []


def changing(x):
    calls.append(1)
    return np.tanh(x) if len(calls) == 1 else np.exp(x)


tg.grad(lambda x: np.sum(tg.checkpoint(changing)(x)))(np.ones(2))

# %% CollectiveError
from tapegrad.devices import collectives

collectives.current().all_reduce([1.0])

# %% ConversionError
tg.grad(lambda x: np.array(float(x)))(2.0)

# %% ImageError
image = data.ImageFeature(np.zeros((4, 6, 3), np.uint8))
data.CenterCrop(100, 100, isClip=False).transformMat(image)

# %% LimitError
nn.save(nn.Linear(100, 100), "large.t7")
nn.formats.torch7.load("large.t7", limits=nn.formats.Limits(max_bytes=1000))

# %% TruncatedError
from pathlib import Path

nn.save(nn.Linear(2, 1), "cut.t7")
_ = Path("cut.t7").write_bytes(Path("cut.t7").read_bytes()[:100])
nn.load("cut.t7")


# %% UnsupportedError
class Doubling(nn.Module):
    def updateOutput(self, x):
        return 2 * x


nn.save(nn.Sequential(nn.Linear(2, 1), Doubling()), "model.t7")

# %% UnsafeError
from pathlib import Path

text = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }
layer { name: "y" type: "Python" bottom: "x" python_param { module: "os" layer: "system" } }
"""
_ = Path("net.prototxt").write_text(text)
nn.formats.caffe.load("net.prototxt")

# %% MXNetError
mx.nd.FullyConnected(mx.nd.ones((2, 3)), mx.nd.ones((4, 5)), num_hidden=4, no_bias=True)

# %% MXNetValueError
net = mx.sym.FullyConnected(mx.sym.Variable("x"), num_hidden=2, name="fc")
mx.SymbolModule(net, {"fc_weight": np.ones((2, 3)), "fc_bias": np.zeros(2)})(np.ones((1, 4)))

# %% OperandError
tg.ops.add("1", 2)

# %% ReplayError
step = tg.replay(lambda x: x if x > 0 else -x)
step(np.array(1.0))

# %% ResumeError
from pathlib import Path

optim.save_checkpoint({"epoch": 3}, "run")
_ = Path("run").write_bytes(Path("run").read_bytes()[:-4])
optim.load_checkpoint("run")

# %% ShapeError
nn.Sequential(nn.Linear(3, 2))(np.ones((1, 4), np.float32))

# %% RanksDifferError
from tapegrad.devices import collectives


def train(group):
    model = nn.Linear(2, 1)
    parallel = optim.DataParallel(model, group=group)
    with tg.no_grad():
        model.weight[:] = group.rank  # each rank has other weights
    parallel.check()


collectives.run_in_threads(2, train)


# %% UncheckedError
class Rounds(nn.Module):
    def forward(self, x):
        return (x + 1e12) - 1e12


case = check.module_case(Rounds, input="N n")
trial = check.Subject("Rounds", "module", Rounds, case).trial
check.run_law(check.MODULE_LAWS["its_gradients_are_the_derivatives"], trial)

# %% UnknownClassWarning
import warnings

from tapegrad.nn.formats import torch7


class Doubling(nn.Module):
    def forward(self, x):
        return 2 * x


torch7.save(nn.Sequential(nn.Tanh(), Doubling()), "model.t7", classes={"my.Doubling": Doubling})
with warnings.catch_warnings(record=True) as given:
    warnings.simplefilter("always")
    found = torch7.load("model.t7")
given[0].category.__name__, str(given[0].message)

# %% SkippedFunctionWarning
import warnings

from tapegrad.nn.formats import torch7

torch7.save(nn.Linear(2, 1), "model.t7")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", errors.SkippedFunctionWarning)
    model = torch7.load("model.t7")
model
