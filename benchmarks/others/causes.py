"""What is behind each accusation: a table, read from the top; the first line that fits counts.

library | subject | law | text in the message | class | cause

Subject and law are patterns of `fnmatch`, the text is a regular expression (* for any).  Classes:
*real*, a fault of the other library, with the name of its proof in `benchmarks/found`;
*convention*, documented or possible otherwise, with the reason;
*gap*, what the checker cannot judge yet;
*false*, a wrong accusation: there should be none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from others.running import Record

__all__ = ["CAUSES", "CLASSES", "Cause", "cause_of", "classified"]

# ruff: noqa: E501  # a cause is one line of a table

CLASSES = ("real", "convention", "gap", "false", "unclassified")

TABLE = r"""
# Faults of PyTorch
torch_* | *Hardsigmoid* | *derivative* | * | real | hardsigmoid_slope
torch_* | *hardsigmoid* | *derivative* | * | real | hardsigmoid_slope
torch_* | *[cC][eE][lL][uU]* | *derivative* | * | real | celu_slope
torch_* | *sinc* | its_second* | * | real | sinc_second
torch_* | torch.*pow* of two | its_second* | * | real | pow_mixed
torch_* | torch.logit* | its_second* | * | real | logit_eps_second
torch_* | torch.segment_reduce* | * | * | real | segment_max_ties
torch_* | torch.cdist p=math.inf | nan* | * | real | cdist_inf_nan
torch_* | torch.cdist p=math.inf | * | * | real | cdist_inf_ties
torch_* | F.pdist* | the check itself | signal | real | pdist_empty_crash
torch_* | F.pdist p=math.inf | * | * | real | pdist_inf_ties
torch_* | nn.LPPool?d p=1.0 | its_* | * | real | lp_pool_zero_sum
torch_* | *weight_norm* | its_second* | * | real | weight_norm_second
torch_* | *[pP][rR][eE][lL][uU]* | its_second* | * | real | prelu_mixed
torch_* | nn.EmbeddingBag max | nan* | * | real | embedding_bag_max_nan
torch_* | nn.MultiMarginLoss | nan* | * | real | multi_margin_loss_nan
torch_* | nn.MultiLabelMarginLoss | nan* | * | real | multilabel_margin_loss_nan
torch_* | special.laguerre* | nan* | * | real | laguerre_nan
torch_* | special.legendre* | nan* | * | real | legendre_nan
torch_* | F.conv_tbc | * | view | real | conv_tbc_strided
torch_* | torch.kron | * | view | real | kron_transposed
torch_* | nn.CrossMapLRN2d | * | * | real | cross_map_lrn_gradient
torch_* | *ixel*huffle* | an_empty* | * | real | pixel_shuffle_empty
torch_* | *nstance*orm* | an_empty* | select | real | instance_norm_affine_empty
torch_* | *nstance* | memory* | * | real | instance_norm_permuted_cotangent
torch_* | *atch*orm* | memory* | * | real | batch_norm_permuted_cotangent
torch_* | torch.vander | * | * | real | vander_backward
torch_* | torch.fft* | * | MKL FFT | real | fft_empty_batch
torch_* | *lstsq* | * | INTERNAL ASSERT | real | lstsq_nan
torch_* | *ldl* | * | INTERNAL ASSERT | real | ldl_factor_nan
torch_* | *ransformer* | nan* | * | real | attention_nan_query
torch_* | *ttention* | nan* | * | real | attention_nan_query
torch_* | linalg.det | *derivative* | * | real | det_singular
# Faults of HIPS autograd
hips | hips sinc | * | * | real | sinc_gradient
hips | hips prod* | its_* | * | real | prod_zero
hips | hips power | its_second* | * | real | power_mixed
hips | hips chi2.pdf | its_* | * | real | chi2_pdf
hips | hips chi2.logpdf | its_* | * | real | chi2_logpdf
hips | hips linalg.norm np.inf | its_* | * | real | norm_inf
hips | hips diag | * | * | real | diag_rectangular
hips | hips diag offset | * | * | real | diag_offset_rectangular
hips | hips outer* | * | * | real | outer_matrix
hips | hips repeat* | * | * | real | repeat_counts
hips | hips tile | * | * | real | tile_matrix
hips | hips dstack of two | * | * | real | dstack_jacobian
hips | hips diff twice | * | * | real | diff_short
hips | hips gradient | * | * | real | gradient_of_two
hips | hips gradient of an axis | * | * | real | gradient_axis
hips | hips broadcast_to | * | * | real | broadcast_to_leading
hips | hips einsum diagonal | * | * | real | einsum_diagonal
hips | hips linalg.norm "fro" of axes | * | * | real | norm_negative_axes
hips | hips linalg.norm "nuc"* | * | * | real | norm_nuclear
hips | hips select | an_empty* | * | real | select_empty
hips | hips ss.convolve | * | * | real | convolve_crossed
# Faults of JAX
jax | jax special.spence | * | * | real | spence_gradient
jax | jax special.bessel_jn | its_second* | * | real | bessel_jn_second
jax | jax special.bessel_jn | float32* | * | real | bessel_jn_float32
jax | jax jnp.hypot | its_second* | * | real | hypot_hessian
jax | jax special.exp1 | * | * | real | exp1_second
jax | jax special.rel_entr | nan* | * | real | rel_entr_nan
jax | jax special.i0 | its_gradient* | * | real | i0_slope
jax | jax special.beta | its_second* | * | real | beta_hessian
jax | jax special.betaln | its_second* | * | real | beta_hessian
# What a library says it does not have
* | * | * | not implemented|NotImplemented|not supported|unsupported|not differentiable | gap | the library lacks it
hips | * | * | KeyError|not defined for | gap | the library lacks it
# What the checker cannot judge
* | * | * | uninitialized | gap | lazy modules
* | * | * | returned (tuple|NoneType|dict)|sparse tensors | gap | results of this form
* | * | the check itself | too slow | gap | too slow
# Conventions
torch_* | nn.Embedding padding_idx | * | * | convention | the row padding_idx gets no gradient, as documented
torch_* | *scale_grad_by_freq* | * | * | convention | the gradient is divided by how often a row is used, as documented
torch_* | *max_norm* | * | * | convention | rows are shortened in place, as documented
torch_* | nn.CTCLoss of raw* | * | * | convention | the input is taken for the result of log_softmax, as documented
torch_* | nn.FractionalMaxPool* | float32* | * | convention | random windows are drawn in the type of the input
torch_* | nn.spectral_norm training | * | * | convention | one step of the power iteration in each call, whose vectors are constants
torch_* | F.gumbel_softmax hard | its_* | * | convention | the gradient is that of the soft sample, as documented
torch_* | nn.GaussianNLLLoss clamped | * | * | convention | the variance is cut without its gradient, as documented
torch_* | torch.nextafter | * | * | convention | a step has no derivative
torch_* | torch.as_strided | memory* | * | convention | it reads memory in its order, which is what it is for
torch_* | nn.*ropout* | memory* | * | convention | a mask is drawn in the order of memory
torch_* | F.*dropout* | memory* | * | convention | a mask is drawn in the order of memory
torch_* | *BatchNorm* | * | more than 1 value per channel | convention | statistics of a batch need two rows
torch_* | nn.LPPool* | * | * | convention | a root of a negative sum is NaN
torch_* | linalg.householder_product | its_* | * | convention | derivatives are ill-defined where τ is near 1/‖v‖², as documented
torch_* | linalg.{lu,lu_factor,qr,svd,eigh} | its_* | * | convention | not unique at such matrices, as documented
jax | jax random.gamma | its_* | * | convention | the derivative of the sample at a fixed probability; the sampler itself jumps
jax | jax nn.dot_product_attention | * | * | convention | softmax in float32 also for float64, by intention
hips | hips * | float32* | float64 | convention | float64 by a constant or from SciPy
hips | hips dirichlet* | * | simplex | convention | outside the domain
* | * | an_empty* | * | convention | nothing is defined for no entries
* | * | nan* | LawError | convention | the result is defined without that entry
* | * | its_* | NaN where the function is finite | convention | NaN at a point without a derivative
* | torch.stft | its_second* | * | convention | the size of a complex number has a kink at 0, inside a square that has none
* | *fft*power* | its_second* | * | convention | the size of a complex number has a kink at 0, inside a square that has none
# Wrong accusations
* | * | * | ZeroTensor | false | a tensor that is known to be zero
* | * | * | is int64|is int32 | false | integer results under the law of float32
* | * | * | view of a leaf|gave different values | false | functions that write in place
* | * | * | found Long | false | buffers in the type of the input
* | * | * | stride 1 | false | cotangents of empty results
* | * | * | cotangent 0 is not 0 | false | vjp(0) = 0 where the value is NaN
* | * | nan* | Error | false | an exception on NaN
* | * | * | [Ss]ingular|is zero|positive-def|inversion could not | false | an exception on singular data
"""


@dataclass(frozen=True)
class Cause:
    """One line of the table."""

    library: str
    subject: str
    law: str
    text: str
    kind: str
    cause: str

    def fits(self, library: str, subject: str, law: str, message: str) -> bool:
        """Whether an accusation is of this cause."""
        return (
            fnmatchcase(library, self.library)
            and fnmatchcase(subject, self.subject)
            and fnmatchcase(law, self.law)
            and (self.text == "*" or re.search(self.text, message) is not None)
        )


def _read() -> list[Cause]:
    lines = [line for line in TABLE.strip().splitlines() if not line.startswith("#")]
    return [Cause(*(cell.strip() for cell in line.split(" | "))) for line in lines]


CAUSES = _read()
_UNKNOWN = Cause("*", "*", "*", "*", "unclassified", "not in the table")


def cause_of(library: str, subject: str, law: str, message: str) -> Cause:
    """The cause of an accusation."""
    return next((c for c in CAUSES if c.fits(library, subject, law, message)), _UNKNOWN)


def classified(
    library: str, records: Iterable[Record]
) -> dict[Cause, list[tuple[str, str, str, str]]]:
    """Cause -> (subject, law, verdict, message) of its accusations."""
    found: dict[Cause, list[tuple[str, str, str, str]]] = {}
    for record in records:
        for law, verdict, message in record.accusations:
            cause = cause_of(library, record.name, law, message)
            found.setdefault(cause, []).append((record.name, law, verdict, message))
    return found
