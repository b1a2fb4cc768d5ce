"""Examples for nn/layers/table.py; see `cases`."""

from __future__ import annotations

from tapegrad import nn
from tapegrad.autograd.check import Layer


def alike(make, least=2, most=2):
    """A table of arrays of one shape, entry by entry."""

    def draw(d):
        shape = d.shape("N A B?")
        x = [d.array(shape) for _ in range(d.integer(least, most))]
        wrong = [x[0], d.array((*shape, 2))]
        return Layer(make(d), x, wrong, "always")

    return draw


def divided(d):
    shape = d.shape("N A B?")
    x = [d.array(shape), d.array(shape, 0)]
    return Layer(nn.CDivTable(), x, [x[0], d.array((*shape, 2), 0)], "always")


def add_tensor(d):
    shape = d.shape("N A")
    x = [d.array(shape), [d.array(shape) for _ in range(d.integer(1, 3))]]
    return Layer(nn.CAddTensorTable(), x, x[0], "always")


def matrices(d):
    n, k, m = d.size("n"), d.size("k"), d.size("m")
    batch = d.shape("N?")
    flips = d.choice([False, True]), d.choice([False, True])
    x = [
        d.array((*batch, *(s[::-1] if flip else s)))
        for s, flip in zip([(n, k), (k, m)], flips, strict=True)
    ]
    wrong = [x[0], d.array((*x[1].shape, 1))]
    return Layer(nn.MM(*flips), x, wrong, "always" if batch else None)


def matrix_vector(d):
    n, k, batch, flip = d.size("n"), d.size("k"), d.shape("N?"), d.choice([False, True])
    x = [d.array((*batch, *((k, n) if flip else (n, k)))), d.array((*batch, k))]
    wrong = [x[0], d.array((*batch, k + 1))]
    return Layer(nn.MV(flip), x, wrong, "always" if batch else None)


def mixture(d):
    experts, batch = d.size("E"), d.shape("N?")
    own = d.shape("A B?")
    gates = d.array((*batch, experts))
    if d.choice([True, False]):
        x = [gates, [d.array((*batch, *own)) for _ in range(experts)]]
    else:
        x = [gates, d.array((*batch, experts, *own))]
    wrong = [d.array((*batch, experts + 1)), x[1]]
    return Layer(nn.MixtureTable(), x, wrong, "always" if batch else None)


def some(d, least=1):
    """A table of arrays of any shapes with one batch size."""
    return [d.array(d.shape("N") + d.shape(most=1)) for _ in range(d.integer(least, 3))]


def select_table(d):
    x = some(d)
    index = d.integer(0, len(x) - 1)
    return Layer(nn.SelectTable(d.choice([index, index - len(x)])), x, [], "always")


def narrow_table(d):
    x = some(d, 2)
    offset = d.integer(0, len(x) - 2)
    return Layer(
        nn.NarrowTable(offset, d.integer(1, len(x) - offset)), x, x[:1] if offset else None
    )


def flatten_table(d):
    return Layer(nn.FlattenTable(), [some(d), [*some(d), some(d)]], batch="always")


def zip_table(d):
    length = d.integer(1, 3)
    x = [[d.array(d.shape("N A")) for _ in range(length)] for _ in range(d.integer(1, 3))]
    return Layer(nn.ZipTable(), x, [*x, [*x[0], x[0][0]]], "always")


def zip_one_to_many(d):
    x = [d.array(d.shape("N A")), some(d)]
    return Layer(nn.ZipTableOneToMany(), x, x[0], "always")


def join(d):
    n, a = d.size("N", may_be_empty=True), d.size("A")
    parts = [d.array((n, a, d.integer(1, 3))) for _ in range(d.integer(1, 3))]
    module = d.choice([nn.JoinTable(1, 2), nn.JoinTable(-1), nn.JoinTable(2)])
    return Layer(module, parts, [*parts, d.array((n, a + 1, 2))], "always")


def split(d):
    module = d.choice([nn.SplitTable(0, 2), nn.SplitTable(-1), nn.SplitTable(1)])
    return Layer(module, d.array(d.shape("N A B")), d.array(()), "always")


def halves(d):
    module = nn.BifurcateSplitTable(d.choice([1, -1]))
    return Layer(module, d.array(d.shape("N A B?")), d.array(()), "always")


def pairs(d):
    n, size = d.shape("N?"), d.size("A")
    x = [d.array((*n, size)) for _ in range(d.integer(2, 4))]
    module = nn.CrossProduct(*d.choice([(), (len(x), size)]))
    return Layer(module, x, [x[0], d.array((*n, size + 1))], "always" if n else None)


def expanded(d):
    n, a, b = d.size("N"), d.size("A", 2, 3), d.size("B")
    x = [d.array((n, a, b)), d.array((n, 1, b))]
    if d.choice([True, False]):
        x.reverse()
    module = nn.TableOperation(d.choice([nn.CMulTable, nn.CAddTable])())
    return Layer(module, x, [x[0], d.array((n, a + 1, b, 1))], "always")


MODULES = {
    "BifurcateSplitTable": halves,
    "CAveTable": alike(lambda d: nn.CAveTable(d.choice([False, True])), 1, 3),
    "CrossProduct": pairs,
    "Pack": alike(lambda d: nn.Pack(d.choice([1, -1])), 1, 3),
    "TableOperation": expanded,
    "CAddTable": alike(lambda d: nn.CAddTable(d.choice([False, True])), 1, 3),
    "CAddTensorTable": add_tensor,
    "CDivTable": divided,
    "CMaxTable": alike(lambda _: nn.CMaxTable(), 1, 3),
    "CMinTable": alike(lambda _: nn.CMinTable(), 1, 3),
    "CMulTable": alike(lambda _: nn.CMulTable(), 1, 3),
    "CSubTable": alike(lambda _: nn.CSubTable()),
    "FlattenTable": flatten_table,
    "JoinTable": join,
    "MM": matrices,
    "MV": matrix_vector,
    "MixtureTable": mixture,
    "NarrowTable": narrow_table,
    "SelectTable": select_table,
    "SplitTable": split,
    "ZipTable": zip_table,
    "ZipTableOneToMany": zip_one_to_many,
}
