"""Examples for autograd/ops/linalg.py; see `cases`."""

from __future__ import annotations

from cases.common import diagonal, matrices

from tapegrad.autograd.check import TrialCall


def matmul(d):
    m, k, n = d.size("m"), d.size("k"), d.size("n")
    batch = d.shape("N T?")
    first, second = d.choice([
        ((m, k), (k, n)), ((k,), (k, n)), ((m, k), (k,)), ((k,), (k,)),
        ((*batch, m, k), (k, n)), ((*batch, m, k), (*batch, k, n)), ((m, k), (*batch, k, n)),
        ((*batch, m, k), (k,)), ((k,), (*batch, k, n)), ((*batch, m, k), (1, k, n)),
    ])  # fmt: skip
    return TrialCall([d.array(first), d.array(second)])


def contract(d):
    axes1, axes2, result = d.choice([
        ("ij", "jk", "ik"), ("bij", "bjk", "bik"), ("ij", "ij", ""), ("ij", "ij", "ji"),
        ("ijk", "kj", "i"), ("i", "j", "ji"), ("ijs", "jk", "ki"), ("bij", "kjb", "kib"),
        ("", "i", "i"),
    ])  # fmt: skip
    shapes = [tuple(d.size(c) for c in axes) for axes in (axes1, axes2)]
    if d.empties and axes1:
        first = tuple(0 if c == axes1[0] else d.size(c) for c in axes1)
        second = tuple(0 if c == axes1[0] else d.size(c) for c in axes2)
        shapes = [first, second]
    settings = {"axes1": axes1, "axes2": axes2, "result": result}
    return TrialCall([d.array(shapes[0]), d.array(shapes[1])], settings)


def einsum(d):
    subscripts = d.choice([
        "ij,jk->ik", "ij,jk", "ii->i", "ii", "ij->ji", "ij->", "...i,i->...", "ij,jk,kl->il",
        "bij,bjk->bik", "i,i,i->i", "ij,ij,ij->j", "ij,kj,k", "i...,i->...",
    ])  # fmt: skip
    terms = subscripts.split("->")[0].split(",")
    shapes = [tuple(d.size(c) for c in t.replace("...", "T")) for t in terms]
    return TrialCall([subscripts, *(d.array(shape) for shape in shapes)])


def tensordot(d):
    a, b = d.size("A"), d.size("B")
    shape = (d.size("N", may_be_empty=True), a, b)
    return TrialCall([d.array(shape), d.array((a, b, d.size("C")))], {
        "axes": d.choice([2, ([1, 2], [0, 1]), ([2], [1])])
    })  # fmt: skip


def dot(d):
    k = d.size("k")
    first, second = d.choice([
        ((k,), (k,)), ((2, k), (k, 3)), ((2, k), (k,)), ((), (k,)), ((2, 2, k), (3, k, 2)),
        ((k,), (2, k, 3)),
    ])  # fmt: skip
    return TrialCall([d.array(first), d.array(second)])


def inner(d):
    k = d.size("k")
    first, second = d.choice([((k,), (k,)), ((2, k), (3, k)), ((), (k,)), ((2, 2, k), (k,))])
    return TrialCall([d.array(first), d.array(second)])


def contract_all(d):
    terms, result = d.choice([
        (("ij", "jk", "kl"), "il"), (("i", "i", "i"), "i"), (("ij", "jk", "k"), ""),
        (("ij", "kj", "l"), "k"),
    ])  # fmt: skip
    return TrialCall([[d.array(tuple(d.size(c) for c in term)) for term in terms]], {
        "terms": terms, "result": result
    })  # fmt: skip


OPERATIONS = {
    "contract": contract,
    "contract_all": contract_all,
    "dot": dot,
    "einsum": einsum,
    "inner": inner,
    "leading_diagonal": lambda d: TrialCall([d.array((3, 3, *d.shape("N?")))]),
    "matmul": matmul,
    "matrix_trace": matrices({"offset": 0}, {"offset": 1}),
    "outer": lambda d: TrialCall([d.array((d.integer(1, 4),)), d.array((d.integer(1, 4),))]),
    "tensordot": tensordot,
    "trace": diagonal,
}
