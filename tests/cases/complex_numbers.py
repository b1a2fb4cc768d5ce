"""Complex arguments: which operations refuse them, and which need another example.

Every operation is held to the laws of values and derivatives with complex arguments too, drawn by
its own case (see `Draws.array`), except those listed here as real by nature.  Those
must refuse complex arguments with a TypeError: `test_laws.py` checks both directions.
"""

from __future__ import annotations

import numpy as np

from cases.ops import scipy as rare
from tapegrad.autograd import ops
from tapegrad.autograd.check import TrialCall

# Reason -> names.
REAL = {
    "NumPy's function is one of real numbers, and raises TypeError": (
        "arctan2 binary_exponent cbrt ceil copysign deg2rad degrees digitize divmod fabs fix "
        "floor floor_divide fmod fractional_part frexp heaviside hypot i0 ldexp logaddexp "
        "logaddexp2 modf nextafter rad2deg radians remainder signbit spacing trunc unwrap"
    ),
    "the transform of a real signal": "half_transform ihfft rfft rfft2 rfftn",
    "complex numbers have no order to go by": (
        "below_zero isneginf isposinf max_pool2d max_pool3d nanpercentile nanquantile "
        "nearest_centroid outside_unit_interval percentile quantile"
    ),
    "`sign` is `phase` of complex numbers": "signum",
    "its gates are between 0 and 1": "gru_over_time gru_reset_after_over_time lstm_over_time",
    "scores have an order": (
        "alignment_likelihood cross_entropy multi_label_hinges scaled_dot_product_attention"
    ),
    "its rule goes by the sign": (
        "elu gelu gelu_by_tanh hard_shrink hard_tanh huber leaky_relu log_one_plus_exp log_sigmoid "
        "logistic_loss magnitude mish silu "
        "soft_plus soft_shrink softsign step_with_gate threshold"
    ),
    "its weights are real in NumPy, too": "bincount",
    "SciPy's function is one of real numbers, and raises TypeError": (
        "beta betaln boxcox entr erfcinv erfinv exp10 expit exprel gammainc gammaincc gammaln i0e "
        "i1 i1e j0 j1 k0 k1 kl_div log_expit logit ndtri polygamma rel_entr special_i0 y0 y1"
    ),
    "of integers, truths or shapes": (
        "bernoulli bitwise_and bitwise_count bitwise_or bitwise_xor class_labels extended_labels "
        "gcd invert lcm left_shift normal numbers_of_steps packbits ravel_multi_index right_shift "
        "uniform unpackbits unravel_index"
    ),
}
REASONS = {name: reason for reason, names in REAL.items() for name in names.split()}
REASONS.update(dict.fromkeys(rare.REAL, "SciPy's function has no loop for complex numbers"))


# Another example --------------------------------------------------------------------------------


def off_the_axis(d):
    """No imaginary part is near 0, where the result would turn real."""
    x = d.array(d.shape())
    return TrialCall([x + 3j if x.dtype.kind == "c" else x])


def several_variables(d):
    """One variable's correlation is the constant 1: its second derivative is rounding alone."""
    return TrialCall([d.normal((d.size("A") + 1, 4)) * 2])


def roots(d):
    """Of roots that come in conjugate pairs NumPy's polynomial is real."""
    return TrialCall([d.normal((d.integer(1, 3),)) * 2])


CASES = {"corrcoef": several_variables, "poly": roots, "real_if_close": off_the_axis}

# What does not depend on the phase of complex vectors, which is arbitrary -------------------------


def _projectors(v):
    """v vᴴ of every column v, (…, n, k) -> (…, k, n, n)."""
    columns = np.swapaxes(v, -1, -2)
    return columns[..., :, None] * np.conj(columns[..., None, :])


def _of_eigenvectors(function):
    def phase_free(*args, **settings):
        values, vectors = function(*args, **settings)
        return [values, _projectors(vectors)]

    return phase_free


def _of_singular_vectors(function):
    def phase_free(*args, **settings):
        u, values, vh = function(*args, **settings)
        k = values.shape[-1]
        across = np.swapaxes(u, -1, -2)[..., :k, :, None] * vh[..., :k, None, :]
        return [_projectors(u), values, _projectors(np.conj(np.swapaxes(vh, -1, -2))), across]

    return phase_free


def _of_completed(function):
    def phase_free(*args, **settings):
        q, upper = function(*args, **settings)
        return [_projectors(q), upper]

    return phase_free


PHASE_FREE = {
    "eig": _of_eigenvectors(ops.eig),
    "eig_parts": _of_eigenvectors(ops.eig_parts),
    "eigh": _of_eigenvectors(ops.eigh),
    "eigh_parts": _of_eigenvectors(ops.eigh_parts),
    "qr_complete": _of_completed(ops.qr_complete),
    "svd": _of_singular_vectors(ops.svd),
    "svd_complete": _of_singular_vectors(ops.svd_complete),
    "svd_parts": _of_singular_vectors(ops.svd_parts),
}

_POLYGAMMA = "its derivative is SciPy's polygamma, which raises TypeError for complex numbers"
EXCEPTIONS = {
    **{
        ("digamma (complex)", law): _POLYGAMMA
        for law in (
            "its_gradient_is_the_derivative",
            "its_second_derivative_is_right",
            "pushed_tangents_agree_with_its_gradient",
            "tracking_fewer_arguments_changes_no_gradient",
            "float32_agrees_with_float64",
            "strict_arrays_agree_with_numpy",
        )
    },
    ("gamma (complex)", "its_second_derivative_is_right"): _POLYGAMMA,
    ("rgamma (complex)", "its_second_derivative_is_right"): _POLYGAMMA,
    ("unique_values (complex)", "it_equals_numpy"): "NumPy leaves the order of the values open",
}
