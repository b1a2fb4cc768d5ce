"""A state machine that does the same with modules and optimizers here and in PyTorch.

Both sides begin with the same float64 numbers. After every rule all values, gradients, running
statistics and modes are compared.

    python -m tests.nightly pytorch_machine --steps=100000
"""

from __future__ import annotations

import copy
from io import BytesIO

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from machine_runs import run_machine

from tapegrad import nn, optim
from tapegrad.optim import clip_grad_norm

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.extra

PICK = st.integers(0, 10**6)
SEED = st.integers(0, 9)
OPTIONS = st.sampled_from(
    [
        ("SGD", {}),
        ("SGD", {"momentum": 0.9}),
        ("SGD", {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}),
        ("Adam", {}),
        ("Adam", {"weight_decay": 0.1}),
        ("AdamW", {"betas": (0.8, 0.99)}),
        ("RMSprop", {"momentum": 0.5}),
    ]
)


class BothModules(RuleBasedStateMachine):
    """`ours` and `theirs` have the same layers; each Parameter has a twin of the same name."""

    @initialize(seed=SEED, kinds=st.lists(st.sampled_from(["norm", "tanh", "linear"]), max_size=3))
    def build(self, seed, kinds):
        nn.manual_seed(seed)
        self.ours, self.theirs = nn.Sequential().double(), torch.nn.Sequential()
        self.optimizers = None
        self.frozen_modules, self.frozen_parameters = set(), set()  # by position, and by name
        for kind in ("linear", *kinds):
            self.append(kind)
        self.make_optimizers(("SGD", {"momentum": 0.9}), groups=False)

    def append(self, kind, of=None):
        """A new layer at the end; with `of`, a Linear with the weight of that layer."""
        if kind == "linear":
            mine, their = nn.Linear(3, 3).double(), torch.nn.Linear(3, 3, dtype=torch.float64)
            if of is not None:
                mine.weight, their.weight = self.ours[of].weight, self.theirs[of].weight
        elif kind == "norm":
            mine, their = nn.BatchNormalization(3).double(), torch.nn.BatchNorm1d(3).double()
        else:
            mine, their = nn.Tanh().double(), torch.nn.Tanh()
        self.ours.add(mine)
        self.theirs.append(their)
        with torch.no_grad():
            for (_, p), q in zip(mine.named_parameters(), their.parameters(), strict=True):
                q.copy_(torch.from_numpy(p.numpy().copy()))
                q.grad = torch.zeros_like(q) if q.grad is None else q.grad
        self.optimizers = None

    def pairs(self):
        """(name, our Parameter, PyTorch's), each Parameter once."""
        theirs = dict(self.theirs.named_parameters())
        ours = dict(self.ours.named_parameters())
        assert ours.keys() == theirs.keys()
        return [(name, p, theirs[name]) for name, p in ours.items()]

    def set_requires_grad(self):
        """In PyTorch only Parameters are frozen; no two modules that share one are frozen apart."""
        for name, p, q in self.pairs():
            frozen = name in self.frozen_parameters or self.holders(p) <= self.frozen_modules
            q.requires_grad_(not frozen)

    def holders(self, parameter):
        layers = enumerate(self.ours.modules)
        return {i for i, m in layers if any(p is parameter for p in m.own_parameters())}

    # Structure and freezing -----------------------------------------------------------------------

    @precondition(lambda self: len(self.theirs) < 6)
    @rule(kind=st.sampled_from(["linear", "norm", "tanh"]))
    def add(self, kind):
        self.append(kind)

    @precondition(lambda self: len(self.theirs) < 6 and not self.frozen_modules)
    @rule(number=PICK)
    def tie(self, number):
        linears = [i for i, m in enumerate(self.ours.modules) if isinstance(m, nn.Linear)]
        self.append("linear", of=linears[number % len(linears)])

    @rule(number=PICK, frozen=st.booleans())
    def freeze(self, number, frozen):
        place = number % len(self.theirs)
        layer = self.ours[place]
        if any(len(self.holders(p)) > 1 for p in layer.own_parameters()):
            return  # in PyTorch it would be frozen in the other layer too
        (layer.freeze if frozen else layer.unfreeze)()
        if frozen:
            self.frozen_modules.add(place)
        else:
            self.frozen_modules.discard(place)
            own = {id(p) for p in layer.own_parameters()}
            self.frozen_parameters -= {name for name, p, _ in self.pairs() if id(p) in own}
        self.set_requires_grad()

    @rule(number=PICK, frozen=st.booleans())
    def freeze_parameter(self, number, frozen):
        name, p, _ = self.pairs()[number % len(self.pairs())]
        (p.freeze if frozen else p.unfreeze)()
        (self.frozen_parameters.add if frozen else self.frozen_parameters.discard)(name)
        self.set_requires_grad()

    @rule(number=PICK, training=st.booleans(), whole=st.booleans())
    def mode(self, number, training, whole):
        place = number % len(self.theirs)
        mine, their = (self.ours, self.theirs) if whole else (self.ours[place], self.theirs[place])
        (mine.training if training else mine.evaluate)()
        their.train(training)

    # Gradients ------------------------------------------------------------------------------------

    @rule(seed=SEED, times=st.integers(1, 2), start=PICK)
    def backward(self, seed, times, start):
        """Of all layers, or of those from one on; once, or twice."""
        first = start % (2 * len(self.theirs))
        self.both_backward(seed, times, first if first < len(self.theirs) else 0)

    def both_backward(self, seed, times=1, first=0):
        x = np.random.default_rng(seed).standard_normal((5, 3))
        given = torch.tensor(x, requires_grad=True)
        mine, their = self.ours[first:], self.theirs[first:]
        y, right = mine.forward(x), their(given)
        np.testing.assert_allclose(y.numpy(), right.detach().numpy(), rtol=1e-7, atol=1e-9)
        for _ in range(times):
            g = mine.backward(x, y / y.size)
            right.backward(right.detach() / right.numel(), retain_graph=True)
        grad = given.grad.numpy() / times
        np.testing.assert_allclose(g.numpy(), grad, rtol=1e-6, atol=1e-9)

    @rule()
    def zero(self):
        self.ours.zero_grad()
        self.theirs.zero_grad(set_to_none=False)

    @rule(limit=st.sampled_from([0.01, 1.0]), seed=SEED)
    def clip(self, limit, seed):
        self.both_backward(seed)
        theirs = [q for q in self.theirs.parameters() if q.requires_grad]
        if theirs:
            norm = clip_grad_norm(self.ours, limit)
            right = torch.nn.utils.clip_grad_norm_(theirs, limit)
            np.testing.assert_allclose(norm.numpy(), right.numpy(), rtol=1e-6, atol=1e-12)

    # Optimizers -----------------------------------------------------------------------------------

    @rule(options=OPTIONS, groups=st.booleans())
    def make_optimizers(self, options, groups):
        kind, given = options
        mine, theirs = {"lr": 0.05, **given}, [{"params": list(self.theirs.parameters())}]
        if groups:
            mine["groups"] = [{"params": "*bias", "lr": 0.01}]
            named = list(self.theirs.named_parameters())
            theirs = [
                {"params": [q for n, q in named if n.endswith("bias")], "lr": 0.01},
                {"params": [q for n, q in named if not n.endswith("bias")]},
            ]
        self.optimizers = (
            getattr(optim, kind)(self.ours, **mine),
            getattr(torch.optim, kind)(theirs, lr=0.05, **given),
        )

    @precondition(lambda self: self.optimizers)
    @rule()
    def step(self):
        self.optimizers[0].step()
        gradients = [(q, q.grad) for q in self.theirs.parameters() if not q.requires_grad]
        for q, _ in gradients:
            q.grad = None  # or PyTorch moves what is frozen
        self.optimizers[1].step()
        for q, gradient in gradients:
            q.grad = gradient

    @precondition(lambda self: self.optimizers)
    @rule(seed=SEED, times=st.integers(1, 3))
    def train(self, seed, times):
        for i in range(times):
            self.zero()
            self.both_backward(seed + i)
            self.step()

    @precondition(lambda self: self.optimizers)
    @rule(factor=st.sampled_from([0.5, 2.0]))
    def change_rates(self, factor):
        for mine, their in zip(
            self.optimizers[0].groups, self.optimizers[1].param_groups, strict=True
        ):
            mine.options["lr"] *= factor
            their["lr"] *= factor

    # Copies and states ----------------------------------------------------------------------------

    @rule()
    def deepcopy(self):
        self.ours, mine = copy.deepcopy((self.ours, self.optimizers and self.optimizers[0]))
        gradients = [q.grad.clone() for q in self.theirs.parameters()]
        self.theirs, their = copy.deepcopy((self.theirs, self.optimizers and self.optimizers[1]))
        for q, gradient in zip(self.theirs.parameters(), gradients, strict=True):
            q.grad = gradient  # which PyTorch leaves behind
        self.optimizers = mine and (mine, their)

    @rule()
    def save_and_load(self):
        """Each model gets the state of the other one, each optimizer its own."""
        mine = self.ours.state_dict()
        theirs = {n: v.numpy().copy() for n, v in self.theirs.state_dict().items()}
        assert mine.keys() <= theirs.keys()  # which has each name of what is tied
        for _, p, q in self.pairs():
            p.data[...] = 7
            q.data[...] = 7
        self.ours.load_state_dict({n: theirs[n] for n in mine})
        tensors = {n: torch.from_numpy(np.asarray(v)) for n, v in {**theirs, **mine}.items()}
        self.theirs.load_state_dict(tensors)
        if self.optimizers:
            self.optimizers[0].load_state_dict(copy.deepcopy(self.optimizers[0].state_dict()))
            file = BytesIO()
            torch.save(self.optimizers[1].state_dict(), file)
            file.seek(0)
            self.optimizers[1].load_state_dict(torch.load(file))

    @invariant()
    def both_agree(self):
        if not hasattr(self, "ours"):
            return
        learning = {id(p) for p in self.ours.parameters()[0]}
        for name, p, q in self.pairs():
            assert (id(p) in learning) == q.requires_grad, name
            right = q.detach().numpy()
            np.testing.assert_allclose(p.numpy(), right, rtol=1e-6, atol=1e-8, err_msg=name)
            found = 0 * right if p.grad is None else p.grad.numpy()
            right = 0 * right if q.grad is None else q.grad.numpy()
            np.testing.assert_allclose(found, right, rtol=1e-6, atol=1e-8, err_msg=name)
        buffers = dict(self.theirs.named_buffers())
        for name, buffer in self.ours.named_buffers():
            np.testing.assert_allclose(buffer.numpy(), buffers[name].numpy(), rtol=1e-6, atol=1e-8)
        modes = [m.training for m in self.theirs.modules()]
        assert [bool(m.train) for m in self.ours.listModules()] == modes


def test_modules_and_optimizers_do_what_pytorch_s_do():
    run_machine(BothModules, 24, 25)
