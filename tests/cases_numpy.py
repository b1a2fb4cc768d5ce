"""Examples of NumPy's functions: elementwise, statistics, sorting, matrices, transforms."""

from __future__ import annotations

import numpy as np

from tapegrad.autograd import primitives
from tapegrad.autograd.check import TrialCall

CUT = {"arcsinh"}  # a branch cut on the imaginary axis
LARGE = {
    "exp2": 10.0, "exp10": 3.0, "i0": 5.0, "i0_derivative": 5.0, "special_i0": 5.0, "i1": 5.0,
    "iv": 5.0, "gamma": 4.0, "rgamma": 4.0, "beta": 4.0, "erfcx": 2.0, "log_ndtr": 5.0,
    "boxcox": 5.0, "k0": 4.0, "k1": 4.0, "kv": 4.0, "polygamma": 5.0, "sinc": 20.0,
    "sinc_derivative": 20.0, "ldexp": 20.0, "digamma": 20.0, "gammaln": 20.0, "betaln": 20.0,
    "j0": 20.0, "j1": 20.0, "jv": 20.0, "y0": 20.0, "y1": 20.0, "yv": 20.0, "ndtr": 4.0,
    "erf": 3.0, "erfc": 3.0, "gammainc": 4.0, "gammaincc": 4.0, "expit": 20.0,
    "log_expit": 20.0, "deg2rad": 100.0, "kl_div": 10.0, "rel_entr": 10.0, "i0e": 20.0,
    "i1e": 20.0, "ive": 20.0,
}  # fmt: skip


def elementwise(name):
    """Operands that broadcast, in the domain that the primitive declares."""
    primitive = primitives()[name].primitive

    def draw(d):
        shapes = d.broadcastable(len(primitive.arguments))
        return TrialCall([
            d.array(shape, *primitive.domain.get(argument, (None, None)),
                    large=LARGE.get(name, 1000.0), cut=name in CUT)
            for argument, shape in zip(primitive.arguments, shapes, strict=True)
        ])  # fmt: skip

    return draw


def of_order(name, orders=(0, 1, 2), *, last=False):
    """An integer order, and an x in the primitive's domain."""
    primitive = primitives()[name].primitive

    def draw(d):
        x = d.array(d.shape(), *primitive.domain.get("x", (None, None)), large=LARGE[name])
        order = d.choice(orders)
        return TrialCall([x, order] if last else [order, x])

    return draw


def integers(low, high, count=2, **settings):
    def draw(d):
        return TrialCall(
            [d.integers(shape, low, high) for shape in d.broadcastable(count)], settings
        )

    return draw


def shifts(d):
    first, second = d.broadcastable(2)
    return TrialCall([d.integers(first, 0, 100), d.integers(second, 0, 5)])


def bytes_(d):
    return TrialCall([d.integers((d.size("A"),), 0, 255).astype(np.uint8)])


def truths(d):
    return TrialCall([d.booleans(d.shape("A B"))])


def ldexp(d):
    first, second = d.broadcastable(2)
    return TrialCall([d.array(first), d.integers(second, -3, 4)])


def one(d):
    return TrialCall([d.array(d.shape())])


def two(d):
    return TrialCall([d.array(shape) for shape in d.broadcastable(2)])


def apart(d, shape, *, low=None):
    """Entries that are distinct by at least 1/2 along the last axis, in no order."""
    n = shape[-1]
    base = np.argsort(d.rng.random(shape), axis=-1) * 1.0 - (n // 2 if low is None else -low)
    return base + d.uniform(0.05, 0.45, shape)


def where_zero(d):
    first, second = d.broadcastable(2)
    return TrialCall([d.array(first), d.array(second)])


def setting(**settings):
    return lambda d: TrialCall([d.array(d.shape())], settings)


def of_scipy(name):
    return elementwise(name)


# Along axes ---------------------------------------------------------------------------------------


def along(d):
    """A shape and one axis that is not empty."""
    shape = (d.size("N", may_be_empty=True), d.size("A") + 1, d.size("B"))
    return shape, d.choice([1, -2, 2])


def along_axis(d):
    shape, axis = along(d)
    return TrialCall([d.array(shape)], {"axis": axis})


def argsort(d):
    """NumPy's own order of ties is nobody's business, unless a stable one is asked for."""
    shape, axis = along(d)
    return TrialCall([d.array(shape)], {"axis": axis, "stable": True})


def reduced(d):
    shape, axis = along(d)
    axis = d.choice([axis, (1, 2)]) if d.empties else d.choice([axis, (1, 2), None, 0])
    return TrialCall([d.array(shape)], {"axis": axis, "keepdims": d.choice([False, True])})


def with_gaps(d):
    """An array with NaN here and there, never all of a line along the last axis."""
    shape = (d.size("N", 1, 2, may_be_empty=True), d.size("A", 1, 2), 2)
    x = d.array(shape)
    x[..., 0][d.rng.random(shape[:-1]) < 0.3] = np.nan
    return x


def reduced_with_gaps(d):
    axis = d.choice([-1, 2, (1, 2)] if d.empties else [-1, 2, (1, 2), None])
    return TrialCall([with_gaps(d)], {"axis": axis, "keepdims": d.choice([False, True])})


def along_with_gaps(d):
    return TrialCall([with_gaps(d)], {"axis": -1})


def variance_with_gaps(d):
    call = reduced_with_gaps(d)
    call.settings["ddof"] = d.choice([0, 0.5])
    return call


def share(low, high, *, gaps=False):
    def draw(d):
        call = reduced_with_gaps(d) if gaps else reduced(d)
        q = d.choice([low + (high - low) * 0.3, np.array([0.25, 1.0, 0.5]) * high])
        if not np.ndim(q):
            call.settings["method"] = d.choice(["linear", "lower", "higher", "midpoint"])
        # a list holds no floating point array: the shares are not differentiated
        return TrialCall([*call.args, q if not np.ndim(q) else q.tolist()], call.settings)

    return draw


def average(d):
    shape, axis = along(d)
    kind = d.choice(["none", "full", "line"])
    if kind == "none":
        return TrialCall([d.array(shape)], {"axis": axis})
    size = shape if kind == "full" else (shape[axis],)
    return TrialCall([d.array(shape), axis, d.rng.uniform(0.5, 2, size)])


def observations(d):
    return TrialCall([d.normal((d.size("A"), 4)) * 2], {"rowvar": d.choice([True, True])})


def covariance(d):
    call = observations(d)
    kind = d.choice(["plain", "bias", "weights"])
    if kind == "bias":
        call.settings["bias"] = True
    if kind == "weights":
        call.settings["aweights"] = d.rng.uniform(0.5, 2, 4).tolist()
    return call


def kth(d):
    shape = (d.size("N", may_be_empty=True), d.size("A"))
    return TrialCall([d.array(shape), tuple(range(shape[1]))], {"axis": d.choice([-1, 1])})


def argpartition(d):
    call = kth(d)
    return TrialCall(call.args[:1], {"kth": call.args[1], "axis": -1})


def of_set(d):
    return TrialCall([apart(d, (d.size("A") + 2,))])


def of_sets(d):
    # Entries that both have would part at the slightest change: values of sets are tested apart.
    return TrialCall([apart(d, (4,)), apart(d, (3,), low=20)])


def lines(d):
    shape = (d.size("N", may_be_empty=True), d.size("A"), d.size("B"))
    return TrialCall([d.array(shape)])


def matrices(*settings):
    """A stack of at least two axes, with one of the settings."""

    def draw(d):
        shape = (*d.shape("N?"), d.size("A"), d.size("B"))
        return TrialCall([d.array(shape)], d.choice(settings or [{}]))

    return draw


def diagonal(d):
    return TrialCall([d.array((d.size("N"), d.size("A"), d.size("B")))], {
        "offset": d.choice([0, 1, -1]), "axis1": d.choice([0, -1]), "axis2": 1
    })  # fmt: skip


def from_diagonal(d):
    m, n = d.size("A"), d.size("B")
    offset = d.choice([0, 1, -1])
    first, second = d.choice([(0, 2), (2, 0), (-1, -3)])
    shape = (m, d.size("C"), n) if first == 0 else (n, d.size("C"), m)
    count = np.diagonal(np.zeros((m, n)), offset).size
    settings = {"shape": shape, "offset": offset, "axis1": first, "axis2": second}
    return TrialCall([d.array((d.size("C"), count))], settings)


def diag(d):
    shape = d.choice([(d.size("A"),), (d.size("A"), d.size("B"))])
    return TrialCall([d.array(shape)], {"k": d.choice([0, 1, -1])})


def roll(d):
    shape = d.shape("N A B")
    shift, axis = d.choice([(1, None), (2, 1), (-1, -1), ((1, -2), (0, 2)), (5, 0)])
    return TrialCall([d.array(shape), shift], {"axis": axis})


def roll_entries(d):
    call = roll(d)
    return TrialCall(call.args[:1], {"shift": call.args[1], **call.settings})


def joined(ndim=2):
    def draw(d):
        shape = d.shape("N A B")[-ndim:]
        return TrialCall([[d.array(shape) for _ in range(d.integer(1, 3))]])

    return draw


def block(d):
    m, n = d.size("A"), d.size("B")
    return TrialCall([[[d.array((m, 2)), d.array((m, n))], [d.array((1, 2)), d.array((1, n))]]])


def parted(axis):
    def draw(d):
        shape = [d.size("N"), d.size("A"), d.size("B")]
        shape[axis] *= 2
        return TrialCall([d.array(tuple(shape)), d.choice([2, [1], [0, 1]])])

    return draw


def array_split(d):
    return TrialCall([d.array((d.size("A") + 2, 2)), d.choice([2, 3, [1]])], {"axis": 0})


def split(d):
    return TrialCall([d.array((4, 2)), d.choice([2, [1, 3]])], {"axis": d.choice([0, -2])})


def insert(d):
    index, values = d.choice([(1, d.array(())), (-1, d.array((3,))), ([0, 2], d.array((2, 3)))])
    return TrialCall([d.array((2, 3)), index, values], {"axis": 0})


def delete(d):
    settings = {"axis": d.choice([0, 1, None])}
    return TrialCall([d.array((3, 4)), d.choice([1, -1, [0, 2], slice(0, 2)])], settings)


def choose(d):
    shape = d.shape("N A")
    return TrialCall([d.integers(shape, 0, 3), [d.array(shape) for _ in range(3)]])


def select(d):
    shape = d.shape("N A")
    masks = [d.booleans(shape) for _ in range(2)]
    return TrialCall([masks, [d.array(shape) for _ in range(2)]], {"default": 0.5})


def piecewise(d):
    x = apart(d, (d.size("A"), 4))
    return TrialCall([x, [x < 0, x > 1], [lambda v: v * v, lambda v: v * 3, 1.5]])


def apply_along_axis(d):
    shape = (d.size("A"), 3, d.size("B"))
    return TrialCall([lambda v: v * v.sum(), d.choice([0, 1, -1]), d.array(shape)])


def apply_over_axes(d):
    return TrialCall([np.sum, d.array((d.size("A"), 2, 3)), d.choice([0, (0, 2), [1, -1]])])


def compress(d):
    return TrialCall([np.array([True, False, True]), d.array((3, d.size("A")))], {"axis": 0})


def extract(d):
    shape = (d.size("A"), 3)
    return TrialCall([d.booleans(shape), d.array(shape)])


# Calculus -----------------------------------------------------------------------------------------


def diff(d):
    shape, axis = along(d)
    return TrialCall([d.array(shape)], {"n": d.choice([1, 2, 0]), "axis": axis})


def ediff1d(d):
    return TrialCall([d.array((3, d.size("A")))], {"to_end": d.choice([None, 2.0])})


def gradient(d):
    shape = (d.size("A") + 2, d.size("B") + 2)
    spacing = d.choice([[], [0.5], [0.5, 2.0], [np.cumsum(d.rng.uniform(1, 2, shape[0])), 1.0]])
    return TrialCall([d.array(shape), *spacing], {"edge_order": d.choice([1, 2])})


def trapezoid(d):
    shape, axis = along(d)
    x = d.choice([None, d.rng.standard_normal(shape[axis]), d.rng.standard_normal(shape)])
    return TrialCall([d.array(shape)] + [x] * (x is not None), {"axis": axis})


def interp(d):
    n = d.integer(2, 5)
    points = np.arange(n) + d.rng.uniform(0.1, 0.4, n)
    x = d.integers(d.shape("N A"), 0, n) + d.rng.uniform(0.5, 0.9)
    return TrialCall([x, points, d.array((n,))])


def vectors(d):
    settings = {"mode": d.choice(["full", "same", "valid"])}
    return TrialCall([d.array((d.integer(1, 5),)), d.array((d.integer(1, 5),))], settings)


def convolve_full(d):
    return TrialCall([d.array((d.integer(1, 5),)), d.array((d.integer(1, 5),))])


def unwrap(d):
    shape = (d.size("N"), d.size("A") + 1)
    return TrialCall([d.normal(shape) * 4])


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


def ends(low=None):
    def draw(d):
        shape = d.choice([(), (d.size("A"),)])
        settings = {"endpoint": d.choice([True, False]), "axis": 0}
        return TrialCall([d.array(shape, low), d.array(shape, low), d.integer(1, 5)], settings)

    return draw


def logarithmic_ends(d):
    return TrialCall([d.normal((2,)), d.normal((2,)), d.integer(1, 4)])


def vander(d):
    return TrialCall([d.array((d.size("A"),))], {
        "N": d.choice([None, 3]), "increasing": d.choice([False, True])
    })  # fmt: skip


def polynomials(d):
    first, second = d.array((d.integer(1, 4),)), d.array((d.integer(1, 4),))
    first[0], second[0] = first[0] + 5, second[0] + 5  # a leading 0 would be dropped
    return TrialCall([first, second])


def polydiv(d):
    second = d.normal((d.integer(1, 3),))
    second[0] = 2
    return TrialCall([d.normal((4,)), second])


def polynomial(d):
    return TrialCall([d.array((d.integer(2, 4),))], {"m": d.choice([1, 2])})


def polyval(d):
    return TrialCall([d.array((d.integer(1, 4),)), d.array(d.shape("N A"), large=10.0)])


def polyfit(d):
    x = apart(d, (6,))
    return TrialCall([x, d.array((6,)), 2])


def roots(d):
    """Two complex ones, which no step of the checker makes real."""
    return TrialCall([np.array([8.0, 0.0, 50.0]) + d.uniform(0, 1, (3,))])


# Matrices -----------------------------------------------------------------------------------------


def batch(d):
    return d.shape("N?")


def regular(d, n=None):
    """Square matrices far from singular, with well separated eigen- and singular values."""
    n = d.size("n", 1, 3) if n is None else n
    order = np.diag(2.0 * np.arange(1, n + 1))
    return d.uniform(-0.3, 0.3, (*batch(d), n, n)) + order


def square(d):
    return TrialCall([regular(d)])


def positive_definite(d):
    x = regular(d)
    return TrialCall([x @ np.conj(np.swapaxes(x, -1, -2))])


def symmetric(d):
    x = regular(d)
    return TrialCall([(x + np.conj(np.swapaxes(x, -1, -2))) / 2], {"UPLO": d.choice(["L", "U"])})


def oblong(d, tall=False):
    m, n = d.choice([(3, 2), (2, 2), (1, 1), (4, 3)] + [(2, 3)] * (not tall))
    k = max(m, n)
    return regular(d, k)[..., :m, :n]


def tall(d):
    return TrialCall([oblong(d, tall=True)])


def any_matrix(d):
    return TrialCall([oblong(d)])


def svd(d):
    return TrialCall([oblong(d)], {"full_matrices": False})


def qr(d):
    return TrialCall([oblong(d)], {"mode": d.choice(["reduced", "r"])})


def solve(d):
    a = regular(d)
    n = a.shape[-1]
    b = d.choice([(n,), (n, 2)]) if a.ndim == 2 else d.choice([(n,), (*a.shape[:-1], 2)])
    return TrialCall([a, d.normal(b)])


def lstsq(d):
    a = regular(d, 4)[..., :2]
    a = a[0] if a.ndim > 2 and len(a) else a if a.ndim == 2 else np.eye(4)[:, :2]
    return TrialCall([a, d.normal(d.choice([(4,), (4, 2)]))])


def tensorsolve(d):
    return TrialCall([regular(d, 4).reshape(-1, 4, 4)[:1].sum(0).reshape(2, 2, 4) + 0.1 *
                 np.eye(4).reshape(2, 2, 4), d.normal((2, 2))])  # fmt: skip


def tensorinv(d):
    x = d.uniform(-0.2, 0.2, (4, 4)) + 2 * np.eye(4)
    return TrialCall([x.reshape(4, 2, 2)], {"ind": 1})


def norm(d):
    kind = d.choice(["all", "vector", "matrix"])
    x = oblong(d) if kind == "matrix" else d.normal((d.size("A") + 1, 3))
    if kind == "all":
        return TrialCall([x], {"keepdims": d.choice([False, True])})
    if kind == "vector":
        order = d.choice([None, 1, 2, 3, np.inf, -np.inf, 0])
        return TrialCall([x], {"ord": order, "axis": 1})
    order = d.choice(["fro", "nuc", 1, -1, 2, -2, np.inf])
    return TrialCall([x], {"ord": order, "axis": (-2, -1), "keepdims": d.choice([False, True])})


def vector_norm(d):
    return TrialCall([d.normal((2, 3))], {"axis": d.choice([None, 1]), "ord": 3})


def matrix_norm(d):
    return TrialCall([oblong(d)], {"ord": d.choice(["fro", "nuc", 2])})


def cond(d):
    return TrialCall([regular(d, 2)], {"p": d.choice([None, 2, -2, "fro", 1])})


def matrix_power(d):
    return TrialCall([regular(d), d.choice([3, 0, 1, -2, 5])])


def multi_dot(d):
    a, b, c = d.size("A"), d.size("B"), d.size("C")
    shapes = d.choice([[(2, a), (a, b), (b, c)], [(a,), (a, b), (b,)], [(2, a), (a, 2)]])
    return TrialCall([[d.array(shape) for shape in shapes]])


# Transforms ---------------------------------------------------------------------------------------

NORM = (None, "ortho", "forward")


def signal(d, *, of_complex=True):
    shape = (d.size("N", may_be_empty=True), d.integer(2, 5), d.integer(2, 5))
    x = d.array(shape)
    return x + 1j * d.array(shape) if of_complex and d.choice([True, False]) else x


def transform(axes):
    def draw(d):
        return TrialCall([signal(d)], {"axes": axes, "norm": d.choice(["backward", *NORM[1:]])})

    return draw


def fft(of_complex=True):
    def draw(d):
        settings = {"axis": d.choice([-1, 1]), "norm": d.choice(NORM)}
        n = d.choice([None, 3, 6])
        return TrialCall([signal(d, of_complex=of_complex)], {"n": n, **settings})

    return draw


def fftn(of_complex=True):
    def draw(d):
        lengths, axes = d.choice([(None, (1, 2)), ((3, 4), (-2, -1)), ((6,), (1,))])
        settings = {"s": lengths, "axes": axes, "norm": d.choice(NORM)}
        return TrialCall([signal(d, of_complex=of_complex)], settings)

    return draw


def fft2(of_complex=True):
    return lambda d: TrialCall([signal(d, of_complex=of_complex)], {"norm": d.choice(NORM)})


def half(d):
    return TrialCall(
        [d.array((2, d.integer(1, 5)))], {"axis": 1, "norm": d.choice(["ortho", "forward"])}
    )


def inverse_half(d):
    length = d.integer(1, 6)
    settings = {"length": length, "axis": 1, "norm": d.choice(["ortho", "backward"])}
    x = d.array((2, length // 2 + 1))
    return TrialCall([x + 1j * d.array(x.shape)], settings)


def double_interior(d):
    length = d.integer(1, 6)
    return TrialCall([d.array((2, length // 2 + 1))], {"length": length, "axis": 1})


def shifted(d):
    return TrialCall([d.array(d.shape("N A B"))], {"axes": d.choice([None, 1, (0, 2)])})


def complex_one(d):
    x = d.array(d.shape("A B"))
    return TrialCall([x + 1j * (d.rng.standard_normal(x.shape) + 3)])


def contract_all(d):
    terms, result = d.choice([
        (("ij", "jk", "kl"), "il"), (("i", "i", "i"), "i"), (("ij", "jk", "k"), ""),
        (("ij", "kj", "l"), "k"),
    ])  # fmt: skip
    return TrialCall([[d.array(tuple(d.size(c) for c in term)) for term in terms]], {
        "terms": terms, "result": result
    })  # fmt: skip


def searched(d):
    return TrialCall([np.sort(d.array((4,))), d.array(d.shape("N A"))], {"side": "right"})


def numpy_clip(d):
    x = d.array((3, 2))
    low, high = d.array((2,), None, -0.5), d.array((3, 1), 0.5)
    return TrialCall([x, low, high])


def bincount(d):
    n = d.size("A")
    return TrialCall([d.integers((n,), 0, 4), d.array((n,))], {"minlength": d.choice([0, 6])})


def histogram(d):
    return TrialCall([apart(d, (6,))], {"bins": d.choice([3, 5])})


def nan_unless_zero(d):
    """A matrix that is 0 where it must be."""
    where = d.booleans((*d.shape("N?"), 3, 3))
    x = d.normal(where.shape) * ~where
    return TrialCall([x, x.copy(), where], {"share": 0.5})


PRIMITIVES = {
    **{
        name: elementwise(name)
        for name in (
            "arccosh", "arcsinh", "arctanh", "cbrt", "copysign", "deg2rad", "degrees", "exp2",
            "absolute_slope", "fabs", "fmax", "fmin", "fmod", "guarded_divide", "guarded_sqrt",
            "larger_share", "over_cosh_squared", "heaviside", "hypot", "imag", "log10", "log2",
            "logaddexp2", "nextafter", "positive", "rad2deg", "radians", "reciprocal", "signbit",
            "trunc", "sinc", "i0", "isreal", "iscomplex", "binary_exponent",
        )
    },
    **{
        name: of_scipy(name)
        for name in (
            "beta", "betaln", "digamma", "entr", "erf", "erfc", "erfcinv", "erfcx", "erfinv",
            "exp10", "expit", "gamma", "gammaln", "i0e", "i1", "i1e", "j0", "j1", "k0", "k1",
            "kl_div", "log_expit", "log_ndtr", "logit", "ndtr", "ndtri", "rel_entr", "rgamma",
            "special_i0", "xlog1py", "xlogy", "y0", "y1",
        )
    },
    **{name: of_order(name) for name in ("iv", "ive", "jv", "kv", "yv")},
    **{name: of_order(name, (1, 2, 3)) for name in ("gammainc", "gammaincc")},
    **{name: integers(-9, 9) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    **{name: integers(-9, 9) for name in ("gcd", "lcm")},
    "argpartition": argpartition,
    "argsort": argsort,
    "bitwise_count": integers(-9, 9, 1),
    "boxcox": of_order("boxcox", (1, 2, 3), last=True),
    "cholesky_lower": positive_definite,
    "contract_all": contract_all,
    "convolve_full": convolve_full,
    "count_nonzero": reduced,
    "close_pairs": lambda d: TrialCall([d.array((*d.shape("N?"), 3))]),
    "cofactor_change": lambda d: TrialCall([regular(d, 3), regular(d, 3)]),
    "cofactors": square,
    "det": lambda d: TrialCall([d.array((*d.shape("N?"), 3, 3))]),
    "diagonal": diagonal,
    "digitize": lambda d: TrialCall([d.array(d.shape("N A")), np.array([-1.0, 0.0, 2.0])]),
    "double_interior": double_interior,
    "eig_parts": square,
    "eigh_parts": symmetric,
    "forward_transform": transform((1, 2)),
    "from_diagonal": from_diagonal,
    "half_transform": half,
    "i0_derivative": lambda d: TrialCall(
        [d.array(d.shape(), large=5.0)], {"order": d.integer(0, 2)}
    ),
    "to_int32": lambda d: TrialCall([d.integers(d.shape(), 0, 9)]),
    "inv": square,
    "inverse_half_transform": inverse_half,
    "inverse_transform": transform((2,)),
    "invert": integers(-9, 9, 1),
    "isin": lambda d: TrialCall([d.array(d.shape("N A")), np.array([-1.0, 0.0, 2.0])]),
    "ldexp": ldexp,
    "leading_diagonal": lambda d: TrialCall([d.array((3, 3, *d.shape("N?")))]),
    "left_shift": shifts,
    "lexsort_rows": lambda d: TrialCall([d.array((2, 5))], {"axis": -1}),
    "nan_unless_zero": nan_unless_zero,
    "nonzero_parts": lambda d: TrialCall([d.array(d.shape("A B"))]),
    "packbits": truths,
    "polygamma": of_order("polygamma", (0, 1, 2)),
    "pseudo_inverse": any_matrix,
    "qr_parts": tall,
    "rank_above": lambda d: TrialCall([d.array((2, 3), 0)], {"size": 3, "rtol": 0.5, "tol": None}),
    "require_basis": square,
    "right_shift": shifts,
    "roll_entries": roll_entries,
    "round": setting(decimals=1),
    "searchsorted": searched,
    "sinc_derivative": lambda d: TrialCall(
        [d.array(d.shape(), large=20.0)], {"order": d.integer(1, 3)}
    ),
    "slogdet_parts": square,
    "solve": solve,
    "svd_parts": any_matrix,
    "to_index": lambda d: TrialCall([np.rint(d.array(d.shape()))]),
    "tril": matrices({}, {"k": 1}, {"k": -1}),
    "triu": matrices({}, {"k": 1}, {"k": -1}),
    "unpackbits": bytes_,
}  # fmt: skip


def written(*rest):
    """A target, which is written into, and what follows it."""

    def draw(d):
        x = d.array((3, 3))
        values = [r(d) if callable(r) else r for r in rest]
        if x.dtype.kind == "f":  # what is complex cannot be written into it
            values = [v.real if isinstance(v, np.ndarray) else v for v in values]
        return TrialCall([x, *values])

    return draw


def finite_gaps(d):
    x = d.array((d.size("N"), 4))
    x[:, 0] = np.nan
    return TrialCall([x], {"axis": -1})


COMPOSITES = {
    **dict.fromkeys(("array_repr", "array_text", "common_type", "diag_indices_from",
                     "tril_indices_from", "triu_indices_from"), written()),
    "copyto": written(lambda d: d.array((3,))),
    "einsum_path": lambda d: TrialCall(["ij,jk,kl->il", *(d.array((2, 2)) for _ in range(3))]),
    "fill_diagonal": written(1.5),
    "place": written(lambda d: d.booleans((3, 3)), lambda d: d.array((2,))),
    "put": written([0, -2], lambda d: d.array((2,))),
    "put_along_axis": written(lambda d: d.integers((3, 1), 0, 3), lambda d: d.array((3, 1)), 1),
    "putmask": written(lambda d: d.booleans((3, 3)), lambda d: d.array((2,))),
    **dict.fromkeys(
        ("append", "diagflat", "fix", "isneginf", "isposinf", "nan_to_num", "modf", "frexp",
         "real_if_close"),
        one,
    ),
    **dict.fromkeys(("vsplit",), parted(0)),
    **dict.fromkeys(("hsplit",), parted(1)),
    **dict.fromkeys(("dsplit",), parted(2)),
    **dict.fromkeys(("fft", "ifft", "hfft", "irfft"), fft()),
    **dict.fromkeys(("rfft", "ihfft"), fft(of_complex=False)),
    **dict.fromkeys(("fftn", "ifftn", "irfftn"), fftn()),
    **dict.fromkeys(("rfftn",), fftn(of_complex=False)),
    **dict.fromkeys(("fft2", "ifft2", "irfft2"), fft2()),
    **dict.fromkeys(("rfft2",), fft2(of_complex=False)),
    **dict.fromkeys(("fftshift", "ifftshift"), shifted),
    **dict.fromkeys(("nansum", "nanprod", "nanmean", "nanmax", "nanmin", "nanmedian"),
                    reduced_with_gaps),
    **dict.fromkeys(("nanargmax", "nanargmin"), finite_gaps),
    **dict.fromkeys(("nanvar", "nanstd"), variance_with_gaps),
    **dict.fromkeys(("nancumsum", "nancumprod"), along_with_gaps),
    **dict.fromkeys(("unique", "unique_all", "unique_counts", "unique_inverse", "unique_values"),
                    of_set),
    **dict.fromkeys(("intersect1d", "setdiff1d", "setxor1d", "union1d"), of_sets),
    **dict.fromkeys(("convolve", "correlate"), vectors),
    **dict.fromkeys(("cumprod", "cumulative_prod", "cumulative_sum", "sort"), along_axis),
    **dict.fromkeys(("polyadd", "polysub", "polymul"), polynomials),
    **dict.fromkeys(("polyder", "polyint"), polynomial),
    **dict.fromkeys(("vstack", "dstack", "column_stack"), joined()),
    **dict.fromkeys(("cross", "linalg_cross"), cross),
    "angle": complex_one,
    "absolute_square": complex_one,
    "append": lambda d: TrialCall(
        [d.array((2, 3)), d.array((1, 3))], {"axis": d.choice([0, None])}
    ),
    "apply_along_axis": apply_along_axis,
    "apply_over_axes": apply_over_axes,
    "argwhere": lambda d: TrialCall([d.array(d.shape("A B"))]),
    "array_equiv": lambda d: TrialCall([d.array((2, 3)), d.array((3,))]),
    "array_split": array_split,
    "atleast_2d": one,
    "atleast_3d": one,
    "average": average,
    "bincount": bincount,
    "block": block,
    "broadcast_arrays": two,
    "cholesky": positive_definite,
    "choose": choose,
    "compress": compress,
    "cond": cond,
    "corrcoef": lambda d: TrialCall([d.normal((d.size("A"), 4)) * 2]),
    "cov": covariance,
    "delete": delete,
    "diag": diag,
    "diff": diff,
    "divmod": lambda d: TrialCall([d.array((2, 3)), d.array((3,), 0)]),
    "ediff1d": ediff1d,
    "eig": square,
    "eigh": symmetric,
    "eigvals": square,
    "eigvalsh": symmetric,
    "extract": extract,
    "flatnonzero": one,
    "fliplr": matrices(),
    "flipud": matrices(),
    "float_power": lambda d: TrialCall([d.array((2, 3), 0, large=5.0), d.array((3,), large=3.0)]),
    "geomspace": ends(0),
    "gradient": gradient,
    "histogram": histogram,
    "histogram_bin_edges": lambda d: TrialCall([apart(d, (6,)), 4]),
    "hstack": joined(),
    "insert": insert,
    "interp": interp,
    "kron": kron,
    "lexsort": lambda d: TrialCall([[d.array((5,)), d.array((5,))]]),
    "linspace": ends(),
    "logspace": logarithmic_ends,
    "lstsq": lstsq,
    "matrix_diagonal": matrices({"offset": 0}, {"offset": 1}),
    "matrix_norm": matrix_norm,
    "matrix_power": matrix_power,
    "matrix_rank": any_matrix,
    "matrix_trace": matrices({"offset": 0}, {"offset": 1}),
    "matrix_transpose": matrices(),
    "matvec": matvec,
    "median": reduced,
    "meshgrid": lambda d: TrialCall([d.array((d.size("A"),)), d.array((d.size("B"),))],
                               {"indexing": d.choice(["xy", "ij"])}),
    "multi_dot": multi_dot,
    "nanpercentile": share(0, 100, gaps=True),
    "nanquantile": share(0, 1, gaps=True),
    "nonzero": lambda d: TrialCall([d.array(d.shape("A B"))]),
    "norm": norm,
    "numpy_clip": numpy_clip,
    "numpy_round": lambda d: TrialCall([d.array(d.shape()), 1]),
    "numpy_split": split,
    "partition": kth,
    "percentile": share(0, 100),
    "piecewise": piecewise,
    "pinv": any_matrix,
    "poly": lambda d: TrialCall([d.array((d.integer(1, 3),), large=5.0)]),
    "polydiv": polydiv,
    "polyfit": polyfit,
    "polyval": polyval,
    "ptp": reduced,
    "qr": qr,
    "quantile": share(0, 1),
    "ravel_multi_index": lambda d: TrialCall(
        [[d.integers((3,), 0, 2), d.integers((3,), 0, 4)], (2, 4)]
    ),
    "resize": lambda d: TrialCall([d.array((2, d.size("A"))), d.choice([(3, 2), (2,), (4, 4)])]),
    "roll": roll,
    "rollaxis": lambda d: TrialCall([d.array((2, 3, d.size("A"))), d.choice([2, -1, 1])],
                               {"start": d.choice([0, 1, 2])}),
    "roots": roots,
    "rot90": matrices({"k": 1, "axes": (-2, -1)}, {"k": 2, "axes": (-2, -1)},
                      {"k": -1, "axes": (-1, -2)}, {"k": 0, "axes": (-2, -1)}),
    "select": select,
    "slogdet": square,
    "sort_complex": lines,
    "spacing": one,
    "svd": svd,
    "svdvals": any_matrix,
    "tensorinv": tensorinv,
    "tensorsolve": tensorsolve,
    "trace": diagonal,
    "trapezoid": trapezoid,
    "trim_zeros": lambda d: TrialCall([apart(d, (5,), low=1)]),
    "unravel_index": lambda d: TrialCall([d.integers((5,), 0, 12), (3, 4)]),
    "unstack": lambda d: TrialCall([d.array((2, d.size("A"), 3))], {"axis": d.choice([0, 1, -1])}),
    "unwrap": unwrap,
    "vander": vander,
    "vdot": lambda d: TrialCall([d.array((2, 3)), d.array((2, 3))]),
    "vecdot": lambda d: TrialCall([d.array((*d.shape("N?"), 3)), d.array((3,))]),
    "vecmat": vecmat,
    "vector_norm": vector_norm,
}  # fmt: skip

# NumPy defines these so.
EXCEPTIONS = {
    **{
        (name, "nan_stays_nan"): "leaving NaN out is what it is for"
        for name in ("fmax", "fmin", "nan_to_num", "nancumprod", "nancumsum", "nanmax", "nanmean",
                     "nanmedian", "nanmin", "nanpercentile", "nanprod", "nanquantile", "nanstd",
                     "nansum", "nanvar")
    },
    **{
        (name, "nan_stays_nan"): "NaN is sorted to the end, as the largest"
        for name in ("partition", "setdiff1d", "sort", "sort_complex", "union1d", "unique",
                     "unique_all", "unique_counts", "unique_inverse", "unique_values")
    },
    **{
        (name, "replay_equals_eager"): "how many results there are is decided by their values"
        for name in ("bincount", "intersect1d", "polydiv", "polymul", "roots", "setdiff1d",
                     "setxor1d", "trim_zeros", "union1d", "unique", "unique_all", "unique_counts",
                     "unique_inverse", "unique_values")
    },
    ("eigh", "nan_stays_nan"): "one triangle is not read",
    ("eigh_parts", "nan_stays_nan"): "one triangle is not read",
    ("digitize", "nan_stays_nan"): "the result is a position; NaN among the bins is refused",
    ("solve", "nan_stays_nan"): "LAPACK's pivoting may pass a NaN by, and NumPy's solve with it",
    ("float_power", "float32_agrees_with_float64"): "it computes in double precision",
    ("cov", "float32_agrees_with_float64"): "it computes in double precision",
    ("corrcoef", "float32_agrees_with_float64"): "it computes in double precision",
    ("vander", "float32_agrees_with_float64"): "it computes in double precision",
    ("spacing", "float32_agrees_with_float64"): "it tells the precision of the dtype",
}  # fmt: skip
