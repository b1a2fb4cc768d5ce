"""Examples for autograd/scipy/: the ufuncs of scipy.special; see `cases`."""

from __future__ import annotations

import numpy as np
from scipy import special

import tapegrad.autograd.scipy.ufuncs  # noqa: F401  # declares them
from tapegrad.autograd import primitives
from tapegrad.autograd.check import TrialCall


def within(name, **arguments):
    """Each argument an array inside an interval (low, high), or a number out of a list.

    A number is not tracked: lists are for arguments without a known derivative.
    """
    names = primitives()[f"special_{name}"].primitive.arguments
    assert arguments.keys() == set(names), (name, names)
    arguments = {argument: arguments[argument] for argument in names}
    arrays = [a for a in arguments if isinstance(arguments[a], tuple)]

    def draw(d):
        shapes = iter(d.broadcastable(len(arrays), most=2)) if arrays else iter(())
        return TrialCall([
            _inside(d, next(shapes), *limits) if isinstance(limits, tuple) else d.choice(limits)
            for limits in arguments.values()
        ])  # fmt: skip

    draw.tracked = arrays
    return draw


def _inside(d, shape, low, high):
    x = d.array(shape, low, high)
    return x if x.dtype.kind == "c" else np.clip(x, low, high)


UNIT, SMALL, POSITIVE, BOTH = (0.05, 0.95), (0.3, 2.0), (0.4, 4.0), (-2.0, 2.0)
_ONE = {
    # elementary
    "cosm1": BOTH, "sindg": (-80, 80), "cosdg": (10, 170), "tandg": (-70, 70), "cotdg": (20, 160),
    "gammasgn": POSITIVE, "round": (0.1, 0.4),
    # elliptic
    "ellipk": (-2, 0.8), "ellipkm1": (0.2, 2), "ellipe": (-2, 0.8),
    # hypergeometric
    "loggamma": POSITIVE, "wrightomega": BOTH, "zetac": (1.5, 4),
    # integrals
    "exp1": SMALL, "expi": SMALL, "spence": SMALL, "dawsn": BOTH, "erfi": (-1, 1), "wofz": BOTH,
    "sici": POSITIVE, "shichi": POSITIVE, "fresnel": SMALL, "modfresnelp": SMALL,
    "modfresnelm": SMALL, "iti0k0": SMALL, "itj0y0": SMALL, "it2i0k0": SMALL, "it2j0y0": SMALL,
    "itstruve0": SMALL, "itmodstruve0": SMALL, "it2struve0": SMALL,
    # cylinder
    "k0e": SMALL, "k1e": SMALL, "ber": SMALL, "bei": SMALL, "ker": SMALL, "kei": SMALL,
    "berp": SMALL, "beip": SMALL, "kerp": SMALL, "keip": SMALL, "kelvin": SMALL, "airy": BOTH,
    "airye": SMALL, "itairy": (-1.5, 1.5),
    # probability
    "ndtri_exp": (-4, -0.2), "kolmogorov": (0.5, 1.6), "kolmogi": UNIT,
}  # fmt: skip
_ORDERS, _DEGREES, _WHOLE = [0.5, 1.0, 2.3], [0, 1, 2, 3, 5], [1, 2, 3]
# SciPy's second radial functions are not those of their equation at other orders.
_SPHEROIDAL = {
    "pro_ang1": (1, 3, 1.4, (-0.8, 0.8)), "obl_ang1": (1, 2, 0.8, (-0.8, 0.8)),
    "pro_rad1": (1, 2, 0.8, (1.3, 2.5)), "obl_rad1": (1, 2, 0.8, SMALL),
    "pro_rad2": (0, 2, 0.8, (1.3, 2.5)), "obl_rad2": (1, 3, 1.4, SMALL),
}  # fmt: skip
_MANY = {
    "powm1": {"x": SMALL, "exponent": BOTH},
    "radian": {"d": BOTH, "m": BOTH, "s": BOTH},
    "boxcox1p": {"x": SMALL, "lmbda": BOTH},
    "inv_boxcox": {"x": (0.1, 0.9), "lmbda": (-0.8, 0.9)},
    "inv_boxcox1p": {"x": (0.1, 0.9), "lmbda": (-0.8, 0.9)},
    # SciPy's values do not move with λ for |λ| below 3e-5
    "tklmbda": {"x": (-0.8, 0.8), "lmbda": (0.1, 0.9)},
    "huber": {"delta": (0.9, 1.1), "r": (-0.7, 0.7)},
    "pseudo_huber": {"delta": SMALL, "r": BOTH},
    "agm": {"a": SMALL, "b": (2.5, 4)},
    "elliprd": {"x1": [0.3, 1.2], "x2": [0.7], "x3": [1.5]},
    "elliprf": {"x1": SMALL, "x2": (2.5, 4), "x3": (5, 6)},
    "elliprc": {"x1": SMALL, "x2": (2.5, 4)},
    "elliprg": {"x1": [0.3, 1.2], "x2": [0.7], "x3": [1.5]},
    "elliprj": {"x1": [0.3, 1.2], "x2": [0.7], "x3": [1.5], "p": [0.4]},
    "ellipkinc": {"phi": (-2.5, 2.5), "m": (-1, 0.8)},
    "ellipeinc": {"phi": (-2.5, 2.5), "m": (-1, 0.8)},
    "ellipj": {"u": (-1.2, 1.2), "m": (0.1, 0.8)},
    "hyp0f1": {"v": _ORDERS, "z": BOTH},
    "hyp2f1": {"a": [0.5, 1.2], "b": [0.7, 2.0], "c": [1.5, 3.1], "z": (-1.5, 0.7)},
    "hyperu": {"a": [0.5, 1.2], "b": [0.7, 2.0], "x": POSITIVE},
    "wright_bessel": {"a": [0.5, 1.2], "b": [0.7, 2.0], "x": SMALL},
    "log_wright_bessel": {"a": [0.5, 1.2], "b": [0.7, 2.0], "x": SMALL},
    "binom": {"n": (3, 6), "k": (0.5, 2.5)},
    "poch": {"z": SMALL, "m": SMALL},
    "expn": {"n": [0, 1, 2, 3], "x": SMALL},
    "voigt_profile": {"x": BOTH, "sigma": SMALL, "gamma": SMALL},
    "owens_t": {"h": BOTH, "a": BOTH},
    **{name: {"v": _ORDERS, "z": SMALL} for name in (
        "jve", "yve", "kve", "hankel1", "hankel2", "hankel1e", "hankel2e"
    )},
    "struve": {"v": _ORDERS, "x": SMALL},
    "modstruve": {"v": _ORDERS, "x": SMALL},
    "besselpoly": {"a": SMALL, "lmbda": [0.5, 1.0], "v": _ORDERS},
    "eval_jacobi": {"n": _DEGREES, "alpha": [0.5, 1.2], "beta": [0.7], "x": (-0.9, 0.9)},
    "eval_sh_jacobi": {"n": _DEGREES, "p": [2.5, 3.2], "q": [0.7], "x": UNIT},
    "eval_gegenbauer": {"n": _DEGREES, "alpha": [0.5, 1.2], "x": (-0.9, 0.9)},
    "eval_genlaguerre": {"n": _DEGREES, "alpha": [0.5, 1.2], "x": SMALL},
    **{f"eval_{name}": {"n": _DEGREES, "x": (-0.9, 0.9)} for name in (
        "chebyc", "chebys", "chebyt", "chebyu", "hermite", "hermitenorm", "laguerre", "legendre"
    )},
    **{f"eval_sh_{name}": {"n": _DEGREES, "x": UNIT} for name in ("chebyt", "chebyu", "legendre")},
    "lpmv": {"m": [0, 1, 2], "v": [2.0, 3.0, 2.5], "x": (-0.8, 0.8)},
    "pbdv": {"v": _ORDERS, "x": SMALL},
    "pbvv": {"v": _ORDERS, "x": SMALL},
    "pbwa": {"v": _ORDERS, "x": SMALL},
    **{f"mathieu_{name}": {"m": _WHOLE, "q": [0.7, 2.0]} for name in "ab"},
    **{f"mathieu_{name}": {"m": _WHOLE, "q": [0.7, 2.0], "x": (5, 85)} for name in ("cem", "sem")},
    **{f"mathieu_mod{name}": {"m": _WHOLE, "q": [0.7, 2.0], "x": SMALL} for name in (
        "cem1", "cem2", "sem1", "sem2"
    )},
    **{f"{kind}_cv": {"m": [0, 1], "n": [2, 3], "c": [0.8, 1.4]} for kind in ("pro", "obl")},
    **{name: {"m": [m], "n": [n], "c": [c], "x": limits}
       for name, (m, n, c, limits) in _SPHEROIDAL.items()},
    **{f"{name}_cv": {"m": [m], "n": [n], "c": [c], "x": limits} | {
           "cv": [float((special.pro_cv if name[:3] == "pro" else special.obl_cv)(m, n, c))]
       } for name, (m, n, c, limits) in _SPHEROIDAL.items()},
    **{name: {"a": [0.8, 2.3], "b": [0.6, 1.5], "x": UNIT} for name in ("betainc", "betaincc")},
    **{name: {"a": [0.8, 2.3], "b": [0.6, 1.5], "p": UNIT} for name in (
        "betaincinv", "betainccinv"
    )},
    "btdtria": {"p": [0.3, 0.6], "b": [0.6, 1.5], "x": [0.4]},
    "btdtrib": {"a": [0.6, 1.5], "p": [0.3, 0.6], "x": [0.4]},
    "gammaincinv": {"a": [0.8, 2.3], "p": UNIT},
    "gammainccinv": {"a": [0.8, 2.3], "p": UNIT},
    "gdtr": {"a": SMALL, "b": [0.8, 2.3], "x": SMALL},
    "gdtrc": {"a": SMALL, "b": [0.8, 2.3], "x": SMALL},
    "gdtria": {"p": UNIT, "b": [0.8, 2.3], "x": SMALL},
    "gdtrib": {"a": [0.6, 1.5], "p": [0.3, 0.6], "x": [0.4]},
    "gdtrix": {"a": SMALL, "b": [0.8, 2.3], "p": UNIT},
    "chdtr": {"v": [1.5, 4], "x": POSITIVE},
    "chdtrc": {"v": [1.5, 4], "x": POSITIVE},
    "chdtri": {"v": [1.5, 4], "p": UNIT},
    "chdtriv": {"p": [0.3, 0.6], "x": [0.4]},
    "fdtr": {"dfn": [1.5, 4], "dfd": [3.0, 5.5], "x": POSITIVE},
    "fdtrc": {"dfn": [1.5, 4], "dfd": [3.0, 5.5], "x": POSITIVE},
    "fdtri": {"dfn": [1.5, 4], "dfd": [3.0, 5.5], "p": UNIT},
    "fdtridfd": {"dfn": [1.5], "p": [0.3, 0.6], "x": [0.8]},
    "stdtr": {"df": [1.5, 4], "t": BOTH},
    "stdtrit": {"df": [1.5, 4], "p": (0.1, 0.9)},
    "stdtridf": {"p": [0.8], "t": [0.9, 1.1]},
    "bdtr": {"k": [1, 2], "n": [4, 6], "p": UNIT},
    "bdtrc": {"k": [1, 2], "n": [4, 6], "p": UNIT},
    "bdtri": {"k": [1, 2], "n": [4, 6], "c": UNIT},
    "bdtrik": {"c": [0.3, 0.6], "n": [6], "p": [0.4]},
    "bdtrin": {"k": [2], "c": [0.3, 0.6], "p": [0.4]},
    "nbdtr": {"k": [1, 2], "n": [2, 3], "p": UNIT},
    "nbdtrc": {"k": [1, 2], "n": [2, 3], "p": UNIT},
    "nbdtri": {"k": [1, 2], "n": [2, 3], "c": UNIT},
    "nbdtrik": {"c": [0.3, 0.6], "n": [6], "p": [0.4]},
    "nbdtrin": {"k": [2], "c": [0.3, 0.6], "p": [0.4]},
    "pdtr": {"k": [0, 1, 3], "m": SMALL},
    "pdtrc": {"k": [0, 1, 3], "m": SMALL},
    "pdtri": {"k": [0, 1, 3], "c": UNIT},
    "pdtrik": {"c": [0.3, 0.6], "m": [2.5]},
    "nrdtrimn": {"p": (0.1, 0.4), "std": SMALL, "x": BOTH},
    "nrdtrisd": {"mn": BOTH, "p": (0.6, 0.9), "x": (2.5, 4)},
    "smirnov": {"n": [5, 9], "d": [0.2, 0.5]},
    "smirnovi": {"n": [5, 9], "p": [0.2, 0.5]},
    "chndtr": {"x": POSITIVE, "df": [1.5, 4.0], "nc": SMALL},
    "chndtrix": {"p": UNIT, "df": [1.5, 4.0], "nc": SMALL},
    "chndtrinc": {"x": (1.5, 2.5), "df": [1.5, 2.0], "p": (0.3, 0.4)},
    "chndtridf": {"x": [1.5], "p": [0.3], "nc": [0.7]},
    "ncfdtr": {"dfn": [2.5, 4.0], "dfd": [3.0, 5.5], "nc": SMALL, "f": SMALL},
    "ncfdtri": {"dfn": [2.5, 4.0], "dfd": [3.0, 5.5], "nc": SMALL, "p": (0.2, 0.8)},
    "ncfdtrinc": {"dfn": [2.5], "dfd": [3.0], "p": (0.3, 0.4), "f": (1.5, 2.0)},
    "ncfdtridfd": {"dfn": [2.5], "p": [0.4], "nc": [0.7], "f": [1.1]},
    "ncfdtridfn": {"p": [0.4], "dfd": [2.5], "nc": [0.7], "f": [1.1]},
    "nctdtr": {"df": [2.5, 4.0], "nc": [0.7, -0.4], "t": BOTH},
    "nctdtrit": {"df": [2.5, 4.0], "nc": [0.7, -0.4], "p": (0.2, 0.8)},
    "nctdtridf": {"p": [0.4], "nc": [0.7], "t": [0.9]},
    "nctdtrinc": {"df": [2.5], "p": [0.4], "t": [0.9]},
}  # fmt: skip

CASES = {
    name: within(name, **(limits if isinstance(limits, dict) else {
        primitives()[f"special_{name}"].primitive.arguments[0]: limits
    }))
    for name, limits in {**_ONE, **_MANY}.items()
}  # fmt: skip
OPERATIONS = {f"special_{name}": case for name, case in CASES.items()}
# Their rules raise, for every argument.
REFUSED = [name for name, case in OPERATIONS.items() if not case.tracked] + ["special_zetac"]
WRONG = [f"special_{kind}_rad2{form}" for kind in ("obl", "pro") for form in ("", "_cv")]
WITHOUT_LAWS = {
    **dict.fromkeys(REFUSED, "its rules raise TypeError"),
    **dict.fromkeys(WRONG, "SciPy's values do not solve the equation of the function"),
}
# Those of whose loops none takes complex numbers.
REAL = [
    name
    for name in OPERATIONS
    if name not in REFUSED
    and not any(
        "D" in loop.partition("->")[0]
        for loop in getattr(special, name.removeprefix("special_")).types
    )
]

_TWICE = "Carlson's R_D, which is in its rule, has no derivative here"
_DIGITS = "SciPy's result has six digits"
EXCEPTIONS = {
    **{
        (f"special_{name}", "its_second_derivative_is_right"): _TWICE
        for name in ("agm", "elliprc", "elliprf", "ellipeinc", "ellipj", "ellipkinc")
    },
    **{
        ("special_ncfdtrinc", f"its_{law}"): _DIGITS
        for law in ("gradient_is_the_derivative", "second_derivative_is_right")
    },
    **{
        ("special_airye (complex)", law): "its rule raises TypeError"
        for law in (
            "its_gradient_is_the_derivative",
            "its_second_derivative_is_right",
            "tracking_fewer_arguments_changes_no_gradient",
            "float32_agrees_with_float64",
            "strict_arrays_agree_with_numpy",
            "pushed_tangents_agree_with_its_gradient",
        )
    },
    ("special_loggamma (complex)", "its_second_derivative_is_right"): (
        "its derivative is SciPy's polygamma, which raises TypeError for complex numbers"
    ),
    ("special_itairy", "its_gradient_is_the_derivative"): _DIGITS,
    **{
        (f"special_{name}", "at_a_tie_its_gradient_lies_between_those_of_both_sides"): _DIGITS
        for name in ("chndtrinc", "ncfdtrinc")
    },
    **{
        (f"special_mathieu_{name}", "nan_stays_nan"): "SciPy's result is 0"
        for name in ("modcem1", "modsem1")
    },
}
