"""A plain model of modules and their optimizers, in NumPy: what a state machine compares with.

Every number is float64, and no code is shared with tapegrad.  A `Leaf` is a Parameter: its entries
and its gradient stand in cells, and Parameters that share memory have the same cell.  A `Node` is a
module: it holds leaves and nodes, and is frozen or not.  An `Updater` is an optimizer.
"""

from __future__ import annotations

import numpy as np


class Cell:
    """Memory that several may hold."""

    def __init__(self, value):
        self.value = np.array(value, float)


class Leaf:
    """A Parameter."""

    def __init__(self, value, grad=None):
        self.cell = value if isinstance(value, Cell) else Cell(value)
        self.grad = Cell(np.zeros(self.cell.value.shape)) if grad is None else grad
        self.frozen = False


class Node:
    """A module of one of five kinds; each maps (n, 3) to (n, 3)."""

    def __init__(self, kind, leaves=(), children=()):
        self.kind = kind
        self.leaves = dict(leaves)  # attribute -> Leaf
        self.children = dict(children)  # step of the name -> Node
        self.frozen, self.training, self.calls = False, True, 0

    def nodes(self, seen=None):
        seen = {} if seen is None else seen
        if id(self) not in seen:
            seen[id(self)] = self
            for child in self.children.values():
                child.nodes(seen)
        return list(seen.values())

    def named(self, prefix="", seen=None):
        """{name: (Leaf, whether some module of the tree learns it)}, each Leaf once."""
        result, first = {}, {}
        nodes_seen = set()

        def walk(node, path):
            if id(node) in nodes_seen:
                return
            nodes_seen.add(id(node))
            for name, leaf in node.leaves.items():
                full = f"{path}.{name}" if path else name
                if id(leaf) not in first:
                    first[id(leaf)] = full
                    result[full] = (leaf, False)
                known = first[id(leaf)]
                learns = not node.frozen and not leaf.frozen
                result[known] = (leaf, result[known][1] or learns)
            for step, child in node.children.items():
                walk(child, f"{path}.{step}" if path else step)

        walk(self, "")
        return result

    def run(self, x, back):
        """The output; `back` gets the functions g -> gradient of the input, in order."""
        if self.kind == "linear":
            w, b = self.leaves["weight"], self.leaves["bias"]
            value = w.cell.value.copy()
            back.append(lambda g, x=x: (self.add(w, g.T @ x), self.add(b, g.sum(0)), g @ value)[2])
            return x @ value.T + b.cell.value
        if self.kind == "tanh":
            y = np.tanh(x)
            back.append(lambda g: g * (1 - y * y))
            return y
        if self.kind == "count":
            self.calls += self.training
            factor = 1.0 if self.training else 0.5
            back.append(lambda g: g * factor)
            return x * factor
        if self.kind == "block":  # its own scale, then its children
            s = self.leaves["_scale"]
            value = s.cell.value.copy()
            back.append(lambda g, x=x: (self.add(s, (g * x).sum(0)), g * value)[1])
            x = x * value
        for child in self.children.values():
            x = child.run(x, back)
        return x

    def runs_of(self, node):
        """How often one run of this node runs another."""
        return (self is node) or sum(child.runs_of(node) for child in self.children.values())

    def add(self, leaf, g):
        if not self.frozen and not leaf.frozen:
            leaf.grad.value += g


class Updater:
    """An optimizer: SGD with momentum and decay, or Adam, on Parameters by name, each with a rate.

    learns: function that gives the leaves that no freezing keeps as they are
    """

    def __init__(self, kind, rates, options, learns, *, accumulate=1, clip=None):
        self.kind, self.rates, self.options, self.learns = kind, rates, options, learns
        self.accumulate, self.clip, self.pending, self.stale = accumulate, clip, 0, False
        self.state, self.single = {}, False  # whether it has a state that float32 has rounded

    def cells(self):
        """Each memory that learns, once: (value, gradient, rate)."""
        seen = {}
        learning = {id(leaf) for leaf in self.learns()}
        for leaf, rate in self.rates:
            if id(leaf) in learning:
                seen.setdefault(id(leaf.cell), (leaf.cell, leaf.grad, rate))
        return list(seen.values())

    def zero(self):
        if not self.pending:
            for leaf, _ in self.rates:
                leaf.grad.value[...] = 0

    def step(self, *, single):
        self.single |= single
        self.pending += 1
        if self.pending < self.accumulate:
            return
        cells = self.cells()
        for _, grad, _ in cells:
            grad.value /= self.pending
        self.pending = 0
        if self.clip is not None and cells:
            clip([grad for _, grad, _ in cells], self.clip)
        for cell, grad, rate in cells:
            self.update(cell, grad.value, rate)

    def update(self, cell, g, rate):
        x = cell.value
        m, v, t = self.state.get(id(cell), (np.zeros_like(x), np.zeros_like(x), 0))
        g = g + self.options.get("weight_decay", 0.0) * x
        if self.kind == "SGD":
            m = self.options.get("momentum", 0.0) * m + g
            x -= rate * m
        else:
            t += 1
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            x -= rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        self.state[id(cell)] = (m, v, t)


def clip(cells, limit):
    """Scale gradients to a joint norm of at most `limit`."""
    distinct = {id(c): c for c in cells}.values()
    norm = np.sqrt(sum((c.value**2).sum() for c in distinct))
    for c in distinct:
        c.value *= min(1.0, limit / (norm + 1e-6))


def close(found, expected, tolerance, what):
    """Raise AssertionError where numbers differ by more than rounding."""
    scale = max(1.0, float(np.max(np.abs(expected), initial=0)))
    difference = np.max(np.abs(found - expected), initial=0)
    assert difference <= tolerance * scale, (what, found, expected)
