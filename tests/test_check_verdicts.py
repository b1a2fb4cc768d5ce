"""Verdicts: what is accused, what is not, and what is said to be a convention.

Each case is a small function with its gradient; where PyTorch itself is the subject, the test is in
`test_check_verdicts_torch.py`.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from planted.right_at_ties import RIGHT_AT_TIES

from tapegrad.autograd.check import FUNCTION_LAWS, Draws, LawError, RecordedDraws, array, check_vjp
from tapegrad.autograd.check.conventions import CONVENTIONS, convention_of
from tapegrad.autograd.check.draws import REGIMES, SIGNED, WIDE
from tapegrad.autograd.check.probing import probe

GRADIENT = "its_gradient_is_the_derivative"


def verdicts(*subject, law=GRADIENT, profile="pr", **more):
    """law -> outcome of a check that raises nothing."""
    summary = check_vjp(*subject, law=law, profile=profile, raise_error=False, **more)
    return {outcome.law.name: outcome for _, outcome in summary.outcomes}


def verdict(*subject, law=GRADIENT, **more):
    return verdicts(*subject, law=law, **more)[law].verdict


# Bounded functions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounded",
    [
        lambda x: np.exp(-x * x),
        np.tanh,
        lambda x: 1 / (1 + x * x),
        lambda x: np.sin(3 * x),
        lambda x: np.exp(-0.01 * x * x),
    ],
)
def test_a_bounded_function_with_the_gradient_zero_is_wrong(bounded):
    outcome = verdicts(bounded, lambda g, x: 0 * x, "N? C")[GRADIENT]
    assert outcome.verdict == "broken"
    assert "analytic is zero everywhere, numeric is not" in str(outcome.error)


@pytest.mark.parametrize(
    "staircase",
    [np.rint, lambda x: np.rint(64 * x) / 64, lambda x: (x + 1e12) - 1e12],
)
def test_stairs_with_the_slope_of_their_ramp_are_not_called_wrong(staircase):
    assert verdict(staircase, lambda g, x: g, "N? C") in ("unchecked", "holds")


# Tied points --------------------------------------------------------------------------------------


def sinc_rule(g, x):
    return g * (np.cos(np.pi * x) / x - np.sin(np.pi * x) / (np.pi * x * x))


def test_nan_at_zero_of_a_smooth_function_is_found():
    outcome = verdicts(np.sinc, sinc_rule, "1")[GRADIENT]
    assert outcome.verdict == "broken"
    assert "NaN where the function is finite" in str(outcome.error)


def determinant(a):
    return np.linalg.det(a)


def by_pseudoinverse(g, a):
    return g * np.linalg.det(a) * np.linalg.pinv(a).T  # right where a is regular


def cofactors(g, a):
    n = len(a)
    minors = [
        np.linalg.det(np.delete(np.delete(a, i, 0), j, 1)) if n > 1 else 1.0
        for i in range(n)
        for j in range(n)
    ]
    signs = (-1.0) ** (np.arange(n)[:, None] + np.arange(n))
    return g * signs * np.reshape(minors, (n, n))


def test_a_determinant_that_is_wrong_at_singular_matrices_only_is_found():
    assert verdict(determinant, by_pseudoinverse, "n n") == "broken"
    assert verdict(determinant, cofactors, "n n") == "holds"


@pytest.mark.parametrize("name", RIGHT_AT_TIES)
def test_a_right_subgradient_is_never_accused(name):
    function, rule = RIGHT_AT_TIES[name]
    for seed in range(2):
        assert verdict(function, rule, "N? C+1", seed=seed) == "holds"


def test_the_ordinary_direction_at_a_tied_point_needs_a_derivative_there():
    """The median of equal numbers has a slope along every line, and no gradient."""
    x, (median, rule) = np.full(5, 2.0), RIGHT_AT_TIES["median"]

    def shares(point, g):
        return [rule(np.asarray(g[0]), point[0])]

    found = [
        p.verdict
        for seed in range(20)
        for p in probe(
            lambda point: [np.asarray(median(point[0]))], shares, [x], np.random.default_rng(seed)
        )
        if "at the tied point" in p.note
    ]
    assert set(found) == {"kink"}


def test_a_jump_or_a_huge_gradient_proves_nothing():
    def angle(g, y, x):
        return g * x / (x * x + y * y), -g * y / (x * x + y * y)

    for seed in range(3):
        assert verdict(np.arctan2, angle, "N C", "N C", seed=seed) == "holds"
    # x/|x| is 0 at 0, where an eps below makes the slope 1e12
    assert (
        verdict(
            lambda x: x / np.maximum(np.abs(x), 1e-12),
            lambda g, x: np.where(np.abs(x) < 1e-12, g / 1e-12, 0 * x),
            "N C",
        )
        == "holds"
    )


# What is not judged -------------------------------------------------------------------------------


def test_an_exception_on_nan_is_a_refusal():
    def strict(x):
        if np.isnan(x).any():
            raise FloatingPointError("NaN")
        return 2 * x

    assert verdict(strict, lambda g, x: 2 * g, "N C", law="nan_stays_nan") == "holds"


def test_an_exception_on_degenerate_data_is_a_refusal_and_on_ordinary_data_is_none():
    outcome = verdicts(np.linalg.inv, inverse_rule, "n n")[GRADIENT]
    assert outcome.verdict == "holds"
    assert "zero data are refused" in outcome.reasons

    def broken(x):
        raise ValueError("always")

    assert verdict(broken, lambda g, x: g, "N C") == "broken"


def inverse_rule(g, a):
    inverse = np.linalg.inv(a)
    return -inverse.T @ g @ inverse.T


def test_an_error_of_the_gradient_alone_is_a_broken_law():
    def rule(g, x):
        if not x.any():
            raise ValueError("no zeros, please")
        return 2 * g * x

    assert verdict(lambda x: x * x, rule, "N C") == "broken"


@pytest.mark.parametrize(
    ("moves", "rule"),
    [
        RIGHT_AT_TIES["sort"],
        (lambda x: np.partition(x, 0, -1), None),
        (lambda x: x[..., ::-1].copy(), None),
    ],
)
def test_a_result_that_moves_entries_may_show_the_nan_elsewhere(moves, rule):
    law = "nan_stays_nan"
    assert verdict(moves, rule or (lambda g, x: g), "N? C", law=law) == "holds"


def test_a_nan_that_disappears_is_still_found():
    for lost in (lambda x: np.nan_to_num(x) * 2, lambda x: np.sum(np.nan_to_num(x), -1)):
        assert verdict(lost, lambda g, x: g, "N? C", law="nan_stays_nan", strict=True) == "broken"


def test_vjp_of_zero_is_asked_only_where_values_are_finite():
    law = "its_gradient_is_linear_in_the_cotangent"

    def rule(g, x):
        with np.errstate(invalid="ignore"):
            return g / np.sqrt(x) / 2

    assert verdict(np.sqrt, rule, "N C", law=law) == "holds"
    assert verdict(np.exp, lambda g, x: g * np.exp(x) + 1, "N C", law=law) == "broken"


def test_integer_results_keep_their_type_and_are_not_compared_in_float32():
    law = "float32_agrees_with_float64"

    def with_places(x):
        return [np.sort(x, -1), np.argsort(x, -1)]

    def rule(g, x):
        return RIGHT_AT_TIES["sort"][1](g[0], x)

    assert verdict(with_places, rule, "N C", law=law) == "holds"
    wrong = lambda x: [np.sort(x, -1), np.argsort(x, -1).astype(x.dtype)]  # noqa: E731
    assert verdict(wrong, rule, "N C", law=law) in ("holds", "broken")


def test_values_that_are_not_finite_are_not_judged():
    outcome = verdicts(np.sqrt, lambda g, x: g / (2 * np.sqrt(x)), "C", profile="ci")[GRADIENT]
    assert outcome.verdict == "holds"
    assert outcome.reasons["the values are not finite here"] > 10


def test_float32_may_differ_by_what_roundings_of_the_arguments_change():
    law = "float32_agrees_with_float64"

    def spread(x):  # 1/σ of two numbers that are nearly equal
        return 1 / (x[..., 0] - x[..., 1])

    def rule(g, x):
        slope = -g / (x[..., 0] - x[..., 1]) ** 2
        return np.stack([slope, -slope], -1)

    def near(d):
        first = d.rng.uniform(1, 2, d.shape("N+8"))
        return np.stack([first, first + 1e-3], -1)

    assert verdict(spread, rule, near, law=law) == "holds"

    def rough(x):
        return spread(x) * (1 + (0.1 if x.dtype == np.float32 else 0))

    assert verdict(rough, rule, near, law=law) == "broken"

    def calm(x):
        return x * np.float32(1 + (1e-3 if x.dtype == np.float32 else 0))

    assert verdict(calm, lambda g, x: g, "N C", law=law) == "broken"


def test_equal_bits_are_asked_for_by_name():
    calls = iter(range(10**6))

    def nearly(x):
        return x * (1 + (next(calls) % 2) * 2.0**-52)

    law = "equal_calls_give_equal_results"
    assert verdict(nearly, lambda g, x: g, "N C", law=law) == "holds"
    assert verdict(nearly, lambda g, x: g, "N C", law=law, deterministic=True) == "broken"


# Examples -----------------------------------------------------------------------------------------


def test_the_first_examples_have_one_sign_each_and_are_zero():
    regimes = [Draws(0, regimes=REGIMES, turn=turn).regime for turn in range(8)]
    assert sorted(regimes) == sorted([*REGIMES, "ordinary", *SIGNED, "zero"])
    assert regimes[:4] == list(REGIMES)
    alone = [Draws(0, regimes=("ordinary",), turn=turn).regime for turn in range(5)]
    assert alone == ["ordinary", "negative", "positive", "ordinary", "ordinary"]
    for turn in range(8):
        d = Draws(3, regimes=REGIMES, turn=turn)
        x = d.array((3, 4))
        assert d.unasked == (d.regime in (*SIGNED, "zero"))
        if d.regime == "negative":
            assert (x < 0).all()
        elif d.regime == "positive":
            assert (x > 0).all()
        elif d.regime == "zero":
            assert not x.any()
            assert d.array((2,), 1, 2).all()  # an interval is kept


def test_some_examples_have_a_long_axis_and_are_drawn_again_as_they_are():
    longest = {}
    for turn in range(40):
        for seed in range(10):
            d = Draws(seed, regimes=REGIMES, turn=turn)
            shape = d.shape("N C+1")
            longest[turn] = max(longest.get(turn, 0), *shape)
            again = RecordedDraws(d.choices_made, regimes=REGIMES)
            assert again.shape("N C+1") == shape
            assert again.regime == d.regime
            np.testing.assert_array_equal(again.array(shape), d.array(shape))
    lengths = sorted({n for n in longest.values() if n > 5})
    assert all(any(low <= n <= high + 1 for n in lengths) for low, high in WIDE)
    assert [turn for turn in range(16) if longest[turn] > 5] == [4, 7, 15]


def test_among_25_examples_each_of_two_axes_is_long_in_ordinary_data():
    for seed in range(20):
        examples = [Draws(seed + turn, regimes=REGIMES, turn=turn) for turn in range(25)]
        shapes = [d.shape("N C") for d in examples if d.regime == "ordinary"]
        assert any(n > 64 for n, _ in shapes)
        assert any(c > 64 for _, c in shapes)


@pytest.mark.parametrize("size", [8, 16, 64])
def test_a_fault_beyond_a_size_is_found(size):
    def rule(g, x):
        gradient = 2 * g * x
        gradient.reshape(-1)[size:] *= 1.001
        return gradient

    assert verdict(lambda x: x * x, rule, "N C") == "broken"


def test_an_input_that_is_overwritten_where_all_is_negative_is_found():
    def clamps(x):
        if (x < 0).all():
            np.maximum(x, 0, out=x)
        return np.maximum(x, 0)

    assert verdict(clamps, lambda g, x: g * (x > 0), "N C", law="inputs_are_left_alone") == "broken"


# Conventions --------------------------------------------------------------------------------------


def hypot_rule(g, y, x):
    return g * y / np.hypot(y, x), g * x / np.hypot(y, x)


def test_a_convention_is_said_and_asked_for_with_strict():
    found = verdicts(np.hypot, hypot_rule, "N C", "N C", profile="ci")[GRADIENT]
    assert found.verdict == "convention"
    assert found.ok
    assert any("NaN at a kink" in reason for reason in found.conventions)
    asked = verdicts(np.hypot, hypot_rule, "N C", "N C", profile="ci", strict=True)[GRADIENT]
    assert asked.verdict == "broken"
    assert "NaN where the function is finite, at a kink" in str(asked.error)


def test_a_convention_hides_no_fault_of_another_kind():
    def rule(g, y, x):
        first, second = hypot_rule(g, y, x)
        return first, 1.5 * second

    assert verdict(np.hypot, rule, "N C", "N C", profile="ci") == "broken"


def test_a_single_kink_inside_is_no_excuse_for_a_wrong_choice_at_ties():
    def each_gets_all(g, x):
        return g[..., None] * (x == np.max(x, -1, keepdims=True))

    assert verdict(lambda x: np.max(x, -1), each_gets_all, "N C+2") == "broken"
    subject = SimpleNamespace(subject=lambda x: np.maximum(x, 0) - np.maximum(-x, 0), copies=False)
    trial = SimpleNamespace(pair=subject, case=None, name="pieces")
    law = SimpleNamespace(name=GRADIENT)
    error = LawError("first order: wrong; analytic 0, numeric 1 ± 1e-9; at the tied point")
    assert convention_of(law, trial, error).startswith("a kink inside")
    subject.subject = lambda x: np.maximum(x, 0)
    assert not convention_of(law, trial, error)


def test_what_passes_nan_by_on_purpose_is_a_convention():
    law = "nan_stays_nan"
    both = (np.fmax, lambda g, x, y: (g * (x >= y), g * (x < y)), "N C", "N C")
    assert verdict(*both, law=law) == "convention"
    assert verdict(*both, law=law, strict=True) == "broken"


def test_every_convention_names_laws_and_gives_a_reason():
    laws = {law.name for law in FUNCTION_LAWS}
    for entry in CONVENTIONS:
        assert entry.name
        assert entry.reason[0].islower() or entry.reason[0] in "NL"
        assert set(entry.laws) <= laws
        assert entry.modules or entry.functions or entry.says or entry.text, "excuses everything"
        assert entry.setting is None or entry.modules
        assert replace(entry) == entry


def test_domains_are_respected_by_every_regime():
    for regime in (*REGIMES, *SIGNED, "zero", "saturated"):
        d = Draws(1)
        d.regime = regime
        x = d.array((50,), 0, 1)
        assert ((x > 0) & (x < 1)).all()
    assert array("N", 0, 1).draw(Draws(0)).shape
