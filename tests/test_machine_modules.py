"""A state machine over modules and optimizers: whatever is done to them, a NumPy model agrees.

Rules build, nest, share, clone, replace, assign, freeze, convert, train, clip, copy, save and
replay, in any order.  After every rule all values, gradients, names, flags and sharing are compared
with `machine_model`.  The seeds are fixed.

    python -m tests.nightly module_machine --steps=100000
"""

from __future__ import annotations

import copy
import pickle
import tempfile

import machine_model as model
import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from machine_modules import Block, Center, Count, data
from machine_runs import run_machine

from tapegrad import nn, no_grad, optim, value_and_grad
from tapegrad.autograd import Parameter, ReplayError, Tensor, replay
from tapegrad.optim import clip_grad_norm

PICK = st.integers(0, 10**6)
SEED = st.integers(0, 9)
THEN = st.none() | SEED  # whether a step of training follows a change, in the same rule
OPTIMIZER = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["SGD", "Adam"]),
        "options": st.sampled_from([{}, {"momentum": 0.9}, {"weight_decay": 0.1}]),
        "source": st.sampled_from(["module", "groups", "list"]),
        "accumulate": st.sampled_from([1, 1, 2]),
        "clip": st.sampled_from([None, None, 0.1]),
    }
)


class Modules(RuleBasedStateMachine):
    """The machine: `pairs` holds each module with its node, the root first."""

    @initialize(seed=SEED, made=OPTIMIZER)
    def build(self, seed, made):
        nn.manual_seed(seed)
        self.root, self.node = nn.Sequential(), model.Node("sequential")
        self.twins, self.updaters, self.results, self.dtype = [], [], [], np.float32
        self.fresh = 0
        for kind in ("linear", "tanh", "count", "linear"):
            self.append(self.make(kind))
        self.make_optimizer(**made)

    # The pairs of modules and nodes --------------------------------------------------------------

    def make(self, kind):
        """A new module and its node."""
        if kind == "block":
            self.fresh += 1
            count = 1 + self.fresh % 3
            made = [self.make("linear" if i else "count") for i in range(count)]
            module = Block([m for m, _ in made])
            names = [
                "output",
                *(["_rest.1", "_rest.1#2"] if count == 3 else ["_rest.0"][: count - 1]),
            ]
            leaves = {"_scale": model.Leaf(np.ones(3))}
            node = model.Node(kind, leaves, zip(names, [n for _, n in made], strict=True))
        elif kind == "sequential":
            parts = [self.make("linear")]
            module = nn.Sequential(*(m for m, _ in parts))
            node = model.Node(kind, (), {"0": parts[0][1]})
        else:
            module = {"linear": lambda: nn.Linear(3, 3), "tanh": nn.Tanh, "count": Count}[kind]()
            leaves = {n: model.Leaf(p.numpy()) for n, p in module.named_parameters()}
            node = model.Node(kind, leaves)
        return module.type(self.dtype), node

    def pairs(self):
        """Each module of the tree with its node, parents first."""
        return list(zip(self.root.listModules(), self.node.nodes(), strict=True))

    def pick(self, number, kind=None):
        found = [pair for pair in self.pairs() if kind is None or pair[1].kind == kind]
        return found[number % len(found)] if found else (None, None)

    def pick_parameter(self, number):
        named, leaves = list(self.root.named_parameters()), list(self.node.named().values())
        return named[number % len(named)][1], leaves[number % len(named)][0]

    def append(self, pair):
        module, node = pair
        self.root.add(module)
        self.node.children[str(len(self.node.children))] = node
        self.changed()

    def changed(self):
        """The tree has other Parameters: optimizers of modules notice at their next step."""
        known = {id(leaf) for leaf, _ in self.node.named().values()}
        for updater in self.updaters:
            updater[1].stale = updater[2] and {id(leaf) for leaf, _ in updater[1].rates} != known

    # Building -------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.node.nodes()) < 12)
    @rule(kind=st.sampled_from(["linear", "count", "block", "sequential", "tanh"]))
    def add(self, kind):
        self.append(self.make(kind))

    @precondition(lambda self: len(self.node.children) < 8)
    @rule(number=PICK)
    def add_again(self, number):
        module, node = self.pick(number, "linear")
        self.append((module, node))

    @precondition(lambda self: len(self.node.children) < 8)
    @rule(number=PICK, inside=st.booleans(), then=THEN)
    def clone_and_share(self, number, inside, then):
        module, node = self.pick(number, "linear")
        names = ["weight", "bias", "gradWeight", "gradBias"] if inside else ["weight", "bias"]
        clone = module.clone(*names)
        twin = model.Node("linear")
        twin.frozen, twin.training = node.frozen, node.training
        for name, leaf in node.leaves.items():
            twin.leaves[name] = model.Leaf(leaf.cell, leaf.grad if inside else None)
            twin.leaves[name].frozen = leaf.frozen
        if inside:
            self.append((clone, twin))
        elif len(self.twins) < 3:
            self.twins.append((clone, twin))
        self.go_on(then)

    @precondition(lambda self: len(self.node.children) < 8)
    @rule(number=PICK, then=THEN)
    def tie(self, number, then):
        module, node = self.pick(number, "linear")
        other, twin = self.make("linear")
        other.weight, twin.leaves["weight"] = module.weight, node.leaves["weight"]
        self.append((other, twin))
        self.go_on(then)

    @rule(number=PICK, kind=st.sampled_from(["linear", "count", "block"]), way=st.booleans())
    def replace(self, number, kind, way):
        place = number % len(self.node.children)
        module, node = self.make(kind)
        if way:
            self.root.modules[place] = module
        else:
            self.root.modules = [
                module if i == place else m for i, m in enumerate(self.root.modules)
            ]
        self.node.children[str(place)] = node
        if not any(n.kind == "linear" for n in self.node.nodes()):
            self.append(self.make("linear"))
        self.changed()

    @rule(number=PICK, seed=SEED, new=st.booleans(), then=THEN)
    def assign(self, number, seed, new, then):
        module, node = self.pick(number, "linear")
        value = np.random.default_rng(seed).standard_normal((3, 3))
        if new:
            module.weight = Parameter(value.astype(self.dtype))
            node.leaves["weight"] = model.Leaf(value.astype(self.dtype))
            self.changed()
        else:
            module.weight = value
            node.leaves["weight"].cell.value[...] = value
        with pytest.raises(ValueError, match="of shape"):
            module.bias = np.ones(4)
        self.go_on(then)

    # Freezing, modes, memory ----------------------------------------------------------------------

    @rule(number=PICK, freeze=st.booleans(), then=THEN)
    def freeze(self, number, freeze, then):
        module, node = self.pick(number)
        (module.freeze if freeze else module.unfreeze)()
        for each in node.nodes():
            each.frozen = freeze
            for leaf in each.leaves.values() if not freeze else ():
                leaf.frozen = False
        self.go_on(then)

    @rule(number=PICK, freeze=st.booleans(), then=THEN)
    def freeze_parameter(self, number, freeze, then):
        p, leaf = self.pick_parameter(number)
        (p.freeze if freeze else p.unfreeze)()
        leaf.frozen = freeze
        self.go_on(then)

    @rule(number=PICK, training=st.booleans(), then=THEN)
    def mode(self, number, training, then):
        for part, on in ((number // 2, not training), (number, training)):
            module, node = self.pick(part)
            (module.training if on else module.evaluate)()
            for each in node.nodes():
                each.training = on
        self.go_on(then)

    @rule(double=st.booleans(), then=THEN)
    def convert(self, double, then):
        dtype = np.float64 if double else np.float32
        if dtype != self.dtype and self.has_twins():
            with pytest.raises(ValueError, match="end the sharing"):
                self.root.type(dtype)
            return
        self.root.type(dtype)
        self.dtype = dtype
        self.go_on(then)

    def has_twins(self):
        """Whether twins or optimizers hold Parameters elsewhere that share the tree's memory."""
        leaves = [leaf for leaf, _ in self.node.named().values()]
        known, cells = {id(leaf) for leaf in leaves}, {id(leaf.cell) for leaf in leaves}
        others = [leaf for _, n in self.twins for leaf in n.leaves.values()]
        others += [leaf for u in self.updaters for leaf, _ in u[1].rates]
        return any(id(leaf) not in known and id(leaf.cell) in cells for leaf in others)

    @rule(number=PICK, then=THEN)
    def flatten(self, number, then):
        """The buffers of a part, and then those of all, are where the parameters are."""
        for module, node in (self.pick(number), (self.root, self.node)):
            flat, gradients = module.getParameters()
            learning = [leaf for leaf, learns in node.named().values() if learns]
            values = {id(leaf.cell): leaf.cell for leaf in learning}.values()
            grads = {id(leaf.grad): leaf.grad for leaf in learning}.values()
            assert flat.size == sum(cell.value.size for cell in values)
            flat.data *= 0.5
            gradients.data *= 0.5
            for cell in (*values, *grads):
                cell.value *= 0.5
        self.go_on(then)

    @rule()
    def count(self):
        """The totals of a summary: each memory once, and how much of it is frozen."""
        named = self.node.named().values()
        cells = ({id(p.cell): p.cell for p, learns in named if learns or every} for every in (1, 0))
        total, trained = (sum(cell.value.size for cell in each.values()) for each in cells)
        frozen = f" ({trained:,} trained, {total - trained:,} frozen)" if trained < total else ""
        last = self.root.summary().splitlines()[-1]
        assert last.startswith(f"{total:,} parameters{frozen}, "), last

    # Gradients ------------------------------------------------------------------------------------

    def backward_model(self, x, times=1, node=None):
        node = self.node if node is None else node
        back = []
        y = node.run(x.astype(float), back)
        for _ in range(times):
            g = y / y.size
            for step in reversed(back):
                g = step(g)
        return y, g

    @rule(seed=SEED, times=st.integers(1, 2))
    def forward_and_backward(self, seed, times):
        self.backward(seed, times)

    def backward(self, seed, times):
        x = data(seed, self.dtype)
        y = self.root.forward(x)
        gradient = y.numpy() / y.size
        for _ in range(times):
            g = self.root.backward(x, gradient)
        expected = self.backward_model(x, times)
        self.close(y.numpy(), expected[0])
        self.close(g.numpy(), expected[1])
        self.results += [(t, t.numpy().copy()) for t in (y, g)]

    @rule(seed=SEED)
    def backward_on_the_tape(self, seed):
        x = data(seed, self.dtype)
        loss = (self.root(x) ** 2).mean() / 2
        learns = loss.tracked
        if learns:
            loss.backward()
        self.backward_model(x)
        assert learns or not any(learns for _, learns in self.node.named().values())

    @rule(number=PICK, seed=SEED)
    def backward_in_a_part(self, number, seed):
        module, node = self.pick(number)
        x = data(seed, self.dtype)
        y = module.forward(x)
        module.backward(x, y.numpy() / y.size)
        self.backward_model(x, node=node)

    @rule(seed=SEED)
    def penalty(self, seed):
        """The gradient by an array inside a loss is that by a Tensor: it has its own gradient."""
        x = data(seed, self.dtype)
        before = {n: p.grad for n, p in self.root.named_parameters()}
        found = []
        for start in (x, Tensor(x)):
            for _, p in self.root.named_parameters():
                p.grad = None
            _, slope = value_and_grad(lambda x: (self.root(x) ** 3).sum())(start)
            if isinstance(slope, Tensor) and slope.tracked:
                (slope**2).sum().backward()
            gradients = [p.grad for _, p in self.root.named_parameters()]
            found.append([0 if g is None else g.numpy().copy() for g in gradients])
        for name, p in self.root.named_parameters():
            p.grad = before[name]
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
        for node in self.node.nodes():
            node.calls += 2 * node.training * (node.kind == "count") * self.node.runs_of(node)

    @rule(seed=SEED)
    def criterion_with_parameters(self, seed):
        x, criterion = data(seed, np.float32), Center()
        criterion.forward(x)
        criterion.backward(x)
        expected = 2 * (1 - x).sum(0) / x.size
        np.testing.assert_allclose(criterion.center.grad.numpy(), expected, rtol=1e-5)

    def freeze_after_backward(self, seed, frozen):
        """What is frozen keeps the gradient that it has."""
        self.backward(seed, 1)
        if frozen is not None:
            self.freeze_parameter(frozen, freeze=True, then=None)

    @rule(number=PICK)
    def descend_by_hand(self, number):
        p, leaf = self.pick_parameter(number)
        if p.grad is not None:
            p.data -= 0.1 * p.grad.numpy()
            leaf.cell.value -= 0.1 * leaf.grad.value

    @rule(seed=SEED, frozen=st.none() | PICK)
    def zero(self, seed, frozen):
        self.freeze_after_backward(seed, frozen)
        self.root.zeroGradParameters()
        for leaf, _ in self.node.named().values():
            leaf.grad.value[...] = 0

    @rule(
        limit=st.sampled_from([0.0, 0.01]), listed=st.booleans(), seed=SEED, frozen=st.none() | PICK
    )
    def clip(self, limit, listed, seed, frozen):
        with pytest.raises(ValueError, match="at least 0"):
            clip_grad_norm(self.root, -1.0)
        self.freeze_after_backward(seed, frozen)
        leaves = [leaf for leaf, learns in self.node.named().values() if learns]
        if not leaves:
            return
        clip_grad_norm([p for _, p in self.root.named_parameters()] if listed else self.root, limit)
        model.clip([leaf.grad for leaf in leaves], limit)

    # Optimizers -----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.updaters) < 3)
    @rule(made=OPTIMIZER)
    def add_optimizer(self, made):
        self.make_optimizer(**made)

    def make_optimizer(self, kind, options, source, accumulate, clip):
        options = {k: v for k, v in options.items() if kind == "SGD" or k != "momentum"}
        named = self.node.named()
        rates = [(leaf, 0.1) for leaf, _ in named.values()]
        given = {"accumulate": accumulate, "clip_grad_norm": clip, "lr": 0.1, **options}
        target = self.root
        if source == "groups":
            given["groups"] = [{"params": "*bias", "lr": 0.01}]
            if not any(name.endswith("bias") for name in named):
                return
            rates = [(leaf, 0.01 if n.endswith("bias") else 0.1) for n, (leaf, _) in named.items()]
        elif source == "list":
            target = [p for _, p in self.root.named_parameters()]
        optimizer = getattr(optim, kind)(target, **given)
        leaves = [leaf for leaf, _ in rates]

        def learns(node=self.node):
            known = {id(leaf): learns for leaf, learns in self.node.named().values()}
            return [leaf for leaf in leaves if known.get(id(leaf), not leaf.frozen)]

        updater = model.Updater(kind, rates, options, learns, accumulate=accumulate, clip=clip)
        step = None
        if accumulate == 1 and source != "list":
            step = replay(self.training_step(self.root, optimizer))
        self.updaters.append((optimizer, updater, source != "list", step))

    def training_step(self, root, optimizer):
        def step(x):
            optimizer.zero_grad()
            y = root.forward(x)
            root.backward(x, y / y.size)
            optimizer.step()
            return y

        return step

    def chosen(self, number):
        """An optimizer and its model; None after a refusal, since the tree has changed."""
        entry = self.updaters[number % len(self.updaters)]
        if not entry[1].stale:
            return entry
        with pytest.raises(RuntimeError, match=r"make a new optimizer|add_group"):
            entry[0].step()
        self.updaters.remove(entry)
        return None

    @precondition(lambda self: self.updaters)
    @rule(number=PICK)
    def zero_grad(self, number):
        if entry := self.chosen(number):
            entry[0].zero_grad()
            entry[1].zero()

    @precondition(lambda self: self.updaters)
    @rule(number=PICK)
    def step(self, number):
        if entry := self.chosen(number):
            entry[0].step()
            entry[1].step(single=self.dtype == np.float32)

    @precondition(lambda self: self.updaters)
    @rule(number=PICK, seed=SEED, times=st.integers(1, 3), replayed=st.booleans())
    def train(self, number, seed, times, replayed):
        self.train_for(number, seed, times, replayed)

    @rule(
        what=st.sampled_from(["mode", "freeze", "freeze_parameter", "unfreeze all", "convert"]),
        number=PICK,
        seed=SEED,
        replayed=st.booleans(),
    )
    def there_and_back(self, what, number, seed, replayed):
        """Train, change something, train, change it back, train."""
        self.remove_stale()
        if replayed:  # with an optimizer whose step is recorded, if there is one
            number = next((i for i, entry in enumerate(self.updaters) if entry[3]), number)
        for on in (None, True, False):
            if on is None:
                pass
            elif what == "convert":
                self.convert(double=self.dtype == np.float32, then=None)
            elif what == "mode":
                self.mode(0, not on, then=None)
            elif what == "unfreeze all" and not on:
                self.freeze(0, freeze=False, then=None)
            elif what == "freeze":
                self.freeze(number, freeze=on, then=None)
            else:
                self.freeze_parameter(number, freeze=on, then=None)
            self.remove_stale()
            self.train_for(number, seed, 3 if on is None else 2, replayed)
            self.agrees()

    def go_on(self, seed):
        """Train for a step, or not."""
        if seed is not None:
            self.remove_stale()
            self.train_for(seed // 2, seed, 1, seed % 2)

    def remove_stale(self):
        """Have an optimizer that is made for the Parameters that there are."""
        for number in reversed(range(len(self.updaters))):
            self.chosen(number)
        if not self.updaters:
            self.make_optimizer("SGD", {"momentum": 0.9}, "module", accumulate=1, clip=None)

    def train_for(self, number, seed, times, replayed):
        if not (entry := self.chosen(number)):
            return
        optimizer, updater, of_module, recorded = entry
        step = self.training_step(self.root, optimizer)
        for i in range(times):
            x = data(seed + i, self.dtype)
            try:
                (recorded if replayed and recorded else step)(x)
            except ReplayError:  # after the step was made
                recorded = replay(step)
                new = optimizer, updater, of_module, recorded
                self.updaters[self.updaters.index(entry)] = entry = new
            updater.zero()
            self.backward_model(x)
            updater.step(single=self.dtype == np.float32)

    @precondition(lambda self: self.updaters)
    @rule(number=PICK, factor=st.sampled_from([0.5, 2.0]), then=THEN)
    def change_rates(self, number, factor, then):
        optimizer, updater, *_ = self.updaters[number % len(self.updaters)]
        for group in optimizer.groups:
            group.options["lr"] *= factor
        updater.rates = [(leaf, rate * factor) for leaf, rate in updater.rates]
        self.go_on(then)

    # Copies and files -----------------------------------------------------------------------------

    @rule(way=st.sampled_from(["deepcopy", "pickle", "file", "clone"]), then=THEN)
    def copy_all(self, way, then):
        """Go on with a copy; optimizers are copied along, or left behind."""
        self.updaters = [u for u in self.updaters if not u[1].stale]
        old = self.root
        if way in ("deepcopy", "pickle"):
            both = self.root, [u[0] for u in self.updaters]
            both = copy.deepcopy(both) if way == "deepcopy" else pickle.loads(pickle.dumps(both))
            self.root, optimizers = both
            self.updaters = [
                (o, u[1], u[2], u[3] and replay(self.training_step(self.root, o)))
                for o, u in zip(optimizers, self.updaters, strict=True)
            ]
        else:
            self.updaters = []
            if way == "file":
                with tempfile.TemporaryDirectory() as folder:
                    self.root.save(f"{folder}/model.safetensors")
                    self.root = nn.load(f"{folder}/model.safetensors", classes=[Block, Count])
                for leaf, _ in self.node.named().values():
                    leaf.grad.value[...] = 0
            else:
                self.root = self.root.clone()
        self.twins = []
        for _, p in old.named_parameters():
            p.data[...] = 7
            p.grad = np.full(p.shape, 7, p.dtype)
        self.go_on(then)

    @rule(then=THEN)
    def state_dicts(self, then):
        saved = self.root.state_dict()
        assert saved.keys() == {n for n, _ in self.root.named_parameters()} | {
            n for n, _ in self.root.named_buffers()
        }
        states = [u[0].state_dict() for u in self.updaters if not u[1].stale]
        with no_grad():
            for _, p in self.root.named_parameters():
                p.detach()[...] = 7
        self.root.load_state_dict(saved)
        for state, u in zip(states, [u for u in self.updaters if not u[1].stale], strict=True):
            u[0].load_state_dict(pickle.loads(pickle.dumps(state)))
        self.go_on(then)

    # What must hold -------------------------------------------------------------------------------

    def close(self, found, expected, what=""):
        double = self.dtype == np.float64 and not any(u[1].single for u in self.updaters)
        model.close(found, expected, 1e-9 if double else 2e-4, what)

    @invariant()
    def agrees(self):
        if not hasattr(self, "root"):
            return
        named, expected = dict(self.root.named_parameters()), self.node.named()
        assert list(named) == list(expected)
        largest = max(np.abs(c.value).max() for p, _ in expected.values() for c in (p.cell, p.grad))
        # Training that diverges ends in numbers that float32 does not have; forward and backward
        # multiply by every weight.
        linear = [node for node in self.node.nodes() if node.kind == "linear"]
        growth = [np.linalg.norm(node.leaves["weight"].cell.value) for node in linear]
        assume(largest < 1e6 and np.prod(np.maximum(growth, 1)) < 1e12)
        trainable = {id(p) for p in self.root.parameters()[0]}
        for name, p in named.items():
            leaf, learns = expected[name]
            assert p.dtype == self.dtype
            assert (id(p) in trainable) == learns, name
            self.close(p.numpy(), leaf.cell.value, name)
            gradient = 0 * leaf.grad.value if p.grad is None else p.grad.numpy()
            self.close(gradient, leaf.grad.value, f"gradient of {name}")
            leaf.cell.value[...] = p.numpy()  # so that rounding does not add up
            leaf.grad.value[...] = 0 if p.grad is None else p.grad.numpy()
        for module, node in self.pairs():
            assert (module._frozen, module.train) == (node.frozen, node.training)
            if node.kind == "count":
                assert module._calls.numpy()[0] == node.calls
        for result, value in self.results[-8:]:
            np.testing.assert_array_equal(result.numpy(), value)
        for module, node in self.twins:
            for name, p in module.named_parameters():
                self.close(p.numpy(), node.leaves[name].cell.value)


def test_modules_and_optimizers_do_what_the_model_does():
    run_machine(Modules, 14, 40)
