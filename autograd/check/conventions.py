"""Conventions: where libraries differ from a law on purpose, with the reason, as data.

A subject of another library that breaks a law as one of these entries says is not wrong: the report
says "convention", and ``strict=True`` asks anyway.  An entry names the laws that it is about, and
what it takes for it: classes of modules or names of functions that the subject uses, a setting of
such a module, words of the error.  Everything that an entry says must be so.  Our own layers and
primitives have no conventions; their cases say `exceptions=`.
"""

from __future__ import annotations

import dis
import functools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import TYPE_CHECKING, Any

from tapegrad.autograd.check.slopes import COARSE, NAN_AT_KINK

if TYPE_CHECKING:
    from tapegrad.autograd.check.laws import Law
    from tapegrad.autograd.check.report import Report, ReportEntry

__all__ = ["CONVENTIONS", "KnownConvention", "convention_of"]

GRADIENT = ("its_gradient_is_the_derivative",)
SECOND = ("its_second_derivative_is_right",)
DERIVATIVES = (*GRADIENT, *SECOND)
LINEAR = ("its_gradient_is_linear_in_the_cotangent",)
LAYOUT = ("memory_layout_does_not_matter",)
PRECISION = ("float32_agrees_with_float64",)
NAN = ("nan_stays_nan",)
WRITES = ("inputs_are_left_alone", "equal_calls_give_equal_results")
CALLS = ("results_do_not_depend_on_earlier_calls",)


@dataclass(frozen=True)
class KnownConvention:
    """One way to differ from laws that is documented or common.

    name:      what it is called
    reason:    why it is no fault
    laws:      the laws that it is about
    modules:   names of classes; one of them is the subject or a part of it
    functions: names of functions; one of them is the subject or is used in its own code
    setting:   what else must be so of that module
    says:      a regular expression that the error's text must match
    unlike:    a regular expression that it must not match
    in_numpy:  whether it is about NumPy functions only
    text:      a regular expression that the subject's name must match, of a lambda its source
    beside:    names of functions one of which is used, too
    uses:      how many uses of `functions` there must be in the subject's own code
    own:       whether what is wrong must be the gradients of that module's own parameters
    zero:      whether every wrong entry of a gradient must be 0
    """

    name: str
    reason: str
    laws: tuple[str, ...]
    modules: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    setting: Callable[[Any], bool] | None = None
    says: str = ""
    unlike: str = ""
    in_numpy: bool = False
    text: str = ""
    beside: tuple[str, ...] = ()
    uses: int = 1
    own: bool = False
    zero: bool = False


def _has(name: str) -> Callable[[Any], bool]:
    """Is the attribute of that name set?"""
    return lambda module: getattr(module, name, None) not in (None, False)


_EMBEDDINGS = ("Embedding", "EmbeddingBag")
_EMBEDDING_FUNCTIONS = ("embedding", "embedding_bag")
AT_TIES = r": wrong; .*(at the tied point|ties and zeros kept)"
# What a right composition may be made of whose derivative at a kink is a choice.
_KINKED = (
    "abs", "absolute", "relu", "sign", "clamp", "clip", "maximum", "minimum", "norm", "hypot",
    "max", "min", "amax", "amin",
)  # fmt: skip

CONVENTIONS: tuple[KnownConvention, ...] = (
    KnownConvention(
        "NaN at a kink",
        "there is no derivative at a kink, and std, hypot and norms at 0 give NaN there",
        DERIVATIVES,
        says=re.escape(NAN_AT_KINK),
        unlike=r": wrong; analytic (?!nan)",
    ),
    KnownConvention(
        "a kink inside",
        "at a kink of its parts, a smooth function has the derivative that the parts choose there",
        GRADIENT,
        functions=_KINKED,
        uses=2,  # with one kink inside, every choice there is right where the whole is smooth
        says=AT_TIES,
    ),
    KnownConvention(
        "a kink inside",
        "at a kink of its parts, a smooth function has the derivative that the parts choose there",
        SECOND,
        functions=_KINKED,
        says=AT_TIES,
    ),
    KnownConvention(
        "singular matrices",
        "decompositions of singular matrices, or of equal eigenvalues, have no derivative",
        DERIVATIVES,
        functions=(
            "qr",
            "svd",
            "svdvals",
            "eigh",
            "eigvalsh",
            "eig",
            "eigvals",
            "lu",
            "lu_factor",
            "pinv",
            "lstsq",
            "cond",
            "matrix_norm",
            "sqrtm",
        ),
        says=r": wrong; analytic (nan|-?inf|-?[\d.]+e\+\d\d)",
    ),
    KnownConvention(
        "padding_idx",
        "the row of padding_idx gets no gradient, so that training leaves it alone",
        DERIVATIVES,
        modules=_EMBEDDINGS,
        setting=_has("padding_idx"),
        own=True,
        zero=True,
    ),
    KnownConvention(
        "padding_idx",
        "the row of padding_idx gets no gradient, so that training leaves it alone",
        DERIVATIVES,
        functions=("padding_idx",),
        beside=_EMBEDDING_FUNCTIONS,
        zero=True,
    ),
    KnownConvention(
        "scale_grad_by_freq",
        "the gradient is divided by how often an index occurs, as the option says",
        DERIVATIVES,
        modules=_EMBEDDINGS,
        setting=_has("scale_grad_by_freq"),
        own=True,
    ),
    KnownConvention(
        "max_norm",
        "rows that are too long are shortened in place before they are read",
        (*DERIVATIVES, *WRITES, *CALLS, *LAYOUT, *PRECISION, *LINEAR),
        modules=_EMBEDDINGS,
        setting=_has("max_norm"),
        own=True,
    ),
    KnownConvention(
        "max_norm",
        "rows that are too long are shortened in place before they are read",
        (*DERIVATIVES, *WRITES, *CALLS, *LAYOUT, *PRECISION, *LINEAR),
        functions=("max_norm",),
        beside=_EMBEDDING_FUNCTIONS,
    ),
    KnownConvention(
        "CTC of log-probabilities",
        "the gradient of CTC loss is that after log_softmax: its input has to be normalized",
        DERIVATIVES,
        modules=("CTCLoss",),
        functions=("ctc_loss",),
    ),
    KnownConvention(
        "spectral norm in training",
        "the power iteration's vectors are taken for constants",
        DERIVATIVES,
        modules=("_SpectralNorm", "SpectralNorm"),
        own=True,
    ),
    KnownConvention(
        "observers",
        "an observer of quantization watches the data in both modes, until it is told not to",
        CALLS,
        modules=(
            "MinMaxObserver",
            "MovingAverageMinMaxObserver",
            "PerChannelMinMaxObserver",
            "MovingAveragePerChannelMinMaxObserver",
            "HistogramObserver",
            "FakeQuantize",
            "FusedMovingAvgObsFakeQuantize",
        ),
    ),
    KnownConvention(
        "straight-through",
        "a step passes the gradient on as if it were not there, on purpose",
        DERIVATIVES,
        functions=("gumbel_softmax", "round_ste", "straight_through"),
    ),
    KnownConvention(
        "the variance's clamp",
        "the variance is clamped without a gradient, for stability",
        DERIVATIVES,
        modules=("GaussianNLLLoss",),
        functions=("gaussian_nll_loss",),
    ),
    KnownConvention(
        "steps of the last place",
        "nextafter moves by one place, so it is derived as if it were its first argument",
        DERIVATIVES,
        functions=("nextafter", "spacing"),
    ),
    KnownConvention(
        "samples by implicit differentiation",
        "a sample's derivative is that of its distribution's quantile, not of the sampling code",
        DERIVATIVES,
        functions=("gamma", "beta", "dirichlet", "standard_gamma"),
        says=COARSE[:20],
    ),
    KnownConvention(
        "random numbers by layout",
        "which entries are dropped depends on the order in memory, and on the precision",
        (*LAYOUT, *PRECISION),
        modules=(
            "Dropout",
            "Dropout1d",
            "Dropout2d",
            "Dropout3d",
            "AlphaDropout",
            "FeatureAlphaDropout",
            "RReLU",
            "FractionalMaxPool2d",
            "FractionalMaxPool3d",
        ),
        functions=(
            "dropout",
            "dropout1d",
            "dropout2d",
            "dropout3d",
            "alpha_dropout",
            "feature_alpha_dropout",
            "rrelu",
            "fractional_max_pool2d",
            "fractional_max_pool3d",
            "gumbel_softmax",
            "rand_like",
            "randn_like",
            "bernoulli",
        ),
    ),
    KnownConvention(
        "strides as given",
        "as_strided reads memory, and another layout has other memory",
        LAYOUT,
        functions=("as_strided",),
    ),
    KnownConvention(
        "NaN is passed by",
        "these functions choose, and what is not chosen, or NaN itself, does not show",
        NAN,
        functions=(
            "fmax",
            "fmin",
            "nansum",
            "nanmean",
            "nanmedian",
            "nanquantile",
            "nanprod",
            "nanstd",
            "nanvar",
            "nanmax",
            "nanmin",
            "nan_to_num",
            "where",
            "select",
            "choose",
            "mode",
            "masked_select",
            "masked_fill",
            "isnan",
            "isfinite",
            "piecewise",
            "kthvalue",
            "renorm",
            "grid_sample",
            "bucketize",
            "histogram",
            "logical_and",
            "compress",
            "extract",
            "getbool",
        ),
    ),
    KnownConvention(
        "a mask of comparisons",
        "NaN compares as false, so a mask that is made of the values leaves it out",
        NAN,
        text=r"\[[^\[\]]*[<>][^\[\]]*\]",
    ),
    KnownConvention(
        "LAPACK reads a part",
        "LAPACK reads one triangle of a symmetric matrix, and its pivoting may pass a NaN by",
        NAN,
        functions=(
            "eigh",
            "eigvalsh",
            "qr",
            "lu",
            "lu_factor",
            "lu_solve",
            "inv",
            "solve",
            "cholesky",
            "cholesky_solve",
            "cholesky_inverse",
            "solve_triangular",
            "cho_solve",
            "ldl_factor",
            "triangular_solve",
            "lstsq",
            "pinv",
            "det",
            "slogdet",
            "matrix_rank",
            "svd",
            "eig",
            "householder_product",
            "ormqr",
        ),
    ),
    KnownConvention(
        "float64 from NumPy",
        "NumPy promotes float32 to float64 beside float64 arrays, and SciPy computes in float64",
        PRECISION,
        says=r"of float32 arrays is float64",
        in_numpy=True,
    ),
    KnownConvention(
        "float_power",
        "float_power computes in float64, as its name says",
        PRECISION,
        functions=("float_power",),
        says=r"of float32 arrays is float64",
    ),
    KnownConvention(
        "eps of the precision",
        "without an eps, root mean squares get the last place of the precision of their input",
        PRECISION,
        modules=("RMSNorm",),
        functions=("rms_norm",),
        setting=lambda module: module.eps is None,
    ),
    KnownConvention(
        "signs of vectors",
        "eigenvectors and singular vectors are unique but for their signs, which rounding decides",
        (*PRECISION, *LAYOUT),
        functions=("eigh", "eig", "svd", "qr"),
        says=r"result [1-9]\d* .*entries differ",
    ),
    KnownConvention(
        "attention in float32",
        "the softmax of attention is computed in float32 whatever its inputs are",
        (*LINEAR, *DERIVATIVES, *CALLS),
        functions=("dot_product_attention",),
    ),
)


def convention_of(law: Law, trial: Any, error: BaseException) -> str:
    """The name and reason of the convention by which an error is none; "" where there is none."""
    pair = getattr(trial, "pair", None)
    if pair is None or getattr(trial.case, "strict", False):
        return ""
    text = str(error)
    for entry in CONVENTIONS:
        if law.name in entry.laws and _is_meant(entry, trial, text, _wrong_entries(error)):
            return f"{entry.name}: {entry.reason}"
    return ""


def _wrong_entries(error: BaseException) -> list[ReportEntry]:
    """The wrong entries of gradients that an error reports."""
    report: Report | None = getattr(error, "report", None)
    return [] if report is None else [e for probe in report.wrong for e in probe.entries]


def _is_meant(entry: KnownConvention, trial: Any, text: str, wrong: Sequence[ReportEntry]) -> bool:
    if entry.says and not re.search(entry.says, text):
        return False
    if entry.unlike and re.search(entry.unlike, text):
        return False
    if entry.zero and any(e.analytic != 0 for e in wrong):
        return False
    subject = trial.pair.subject
    if entry.in_numpy and (trial.pair.copies or _is_foreign(subject)):
        return False
    if entry.text and not re.search(entry.text, trial.name):
        return False
    if not entry.modules and not entry.functions:
        return True
    parts = [
        (path, part)
        for path, part in _parts_of(subject)
        if type(part).__name__ in entry.modules and (not entry.setting or entry.setting(part))
    ]
    if parts and entry.own:
        return all(any(e.argument.startswith(path) for path, _ in parts) for e in wrong)
    if parts:
        return True
    names = _names_of(trial.name, subject)
    if entry.beside and names.keys().isdisjoint(entry.beside):
        return False
    return sum(names[name] for name in entry.functions) >= entry.uses


def _is_foreign(subject: Any) -> bool:
    module = getattr(subject, "__module__", None) or type(subject).__module__
    return str(module).partition(".")[0] in ("torch", "jax")


def _parts_of(subject: Any) -> list[tuple[str, Any]]:
    """The module, its parts and their hooks, with the beginning of their parameters' names.

    The parameter of a parametrization is not in it but beside it.
    """
    if not callable(getattr(subject, "named_modules", None)):
        return []
    found: list[tuple[str, Any]] = []
    for name, part in subject.named_modules():
        path = f"{name}." if name else ""
        hooks = (getattr(part, "_forward_pre_hooks", None) or {}).values()
        inside = re.fullmatch(r"(.*parametrizations\.\w+\.)\d+\.", path)
        found += [(inside[1] if inside else path, part), *((path, hook) for hook in hooks)]
    return found


def _names_of(text: str, subject: Any) -> Counter[str]:
    """How often a function's own code uses names; the words of its text where it has no code.

    What a loop or a function inside uses counts twice.
    """
    names: Counter[str] = Counter()
    while isinstance(subject, functools.partial):
        names.update(subject.keywords)
        subject = subject.func
    code = getattr(subject, "__code__", None)
    if isinstance(code, CodeType):
        names.update(_names_in(code))
    else:
        names.update(re.findall(r"[A-Za-z_]\w*", text))
    for own in {getattr(subject, "__name__", ""), text}:
        names[own] = max(names[own], 1)
    return names


def _names_in(code: CodeType, times: int = 1) -> Iterator[str]:
    steps = list(dis.get_instructions(code))
    if any(step.opname.startswith("JUMP_BACKWARD") for step in steps):
        times = 2
    for step in steps:
        if isinstance(step.argval, str) and step.opname.startswith("LOAD_"):
            yield from [step.argval] * times
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant, 2)
        elif isinstance(constant, tuple):  # the keywords of calls
            yield from (name for name in constant if isinstance(name, str))
