"""Examples for autograd/ops/vector_products.py; see `cases`."""

from __future__ import annotations

from tapegrad.autograd.check import TrialCall


def matvec(d):
    m, n = d.size("A"), d.size("B")
    return TrialCall([d.array((*d.shape("N?"), m, n)), d.array((n,))])


def vecmat(d):
    m, n = d.size("A"), d.size("B")
    return TrialCall([d.array((m,)), d.array((*d.shape("N?"), m, n))])


def kron(d):
    shapes = d.choice([((2, 3), (3, 2)), ((3,), (2,)), ((2,), (2, 3)), ((), (2,))])
    return TrialCall([d.array(shape) for shape in shapes])


def cross(d):
    return TrialCall([d.array((*d.shape("N?"), 3)), d.array((3,))])


OPERATIONS = {
    "cross": cross,
    "kron": kron,
    "linalg_cross": cross,
    "matvec": matvec,
    "vdot": lambda d: TrialCall([d.array((2, 3)), d.array((2, 3))]),
    "vecdot": lambda d: TrialCall([d.array((*d.shape("N?"), 3)), d.array((3,))]),
    "vecmat": vecmat,
}
