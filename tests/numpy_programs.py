"""Random NumPy programs, run on arrays and on Tensors: the differential law of NumPy code.

A program is text, a line for each step, so that one that fails can be pasted: ``v`` is the list of
its values, of which the first are its inputs, and ``keep`` makes 0-d arrays of NumPy's scalars.
On Tensors every value must be NumPy's, with its shape and dtype, and the gradient must agree with
central differences that have error bars.  A program may be refused, by a TypeError or where a write
would be lost; it never differs silently.

    python tests/numpy_programs.py 10000        # a count, and a first seed if you like
"""

from __future__ import annotations

import copy
import dataclasses
import linecache
import math
import pickle
import sys
import warnings
from collections import Counter

import numpy as np

import tapegrad as tg
from tapegrad.autograd.check.slopes import Line, judge
from tapegrad.errors import InPlaceError


def keep(value):
    """A 0-d array for a scalar of NumPy's, which no write and no view could reach."""
    return np.asarray(value) if isinstance(value, np.generic) else value


NAMES = {"np": np, "copy": copy, "math": math, "pickle": pickle, "keep": keep}

SHAPES = [(), (1,), (3,), (3,), (4,), (2, 3), (3, 3), (3, 1), (1, 3), (2, 2), (0,), (2, 1, 3)]

# Each step is a template.  {x} and {y} are values that hold floats, {a} any value, {n} a constant,
# {s} a number, {i} an integer, {axis} an axis of {x} or None, {at} an index into {x}, {mask} a
# condition on {x}, {shape} a shape of {x}'s size.  A template that begins with "!" writes.
ELEMENTWISE = """
    np.sin({x}) np.cos({x}) np.tanh({x}) np.exp(-{x}**2) np.abs({x}) np.sqrt({x}**2+0.5)
    np.square({x}) np.log1p({x}**2) np.arctan({x}) np.arctan2({x},{y}) np.hypot({x},1.5)
    np.sign({x}) np.floor({x}) np.expm1({x}/9) np.reciprocal({x}**2+1) np.cbrt({x}) np.sinc({x})
    np.positive({x}) -{x} +{x} abs({x}) {x}+{y} {x}-{y} {x}*{y} {x}/({y}**2+1) {x}+{n} {n}-{x}
    {n}*{x} {x}/{n} {n}/({x}**2+1) {x}**2 {x}**3 ({x}**2+1)**{s} np.abs({x})**1.5 2.0**{x} {x}//1.0
    {x}%1.5 np.fmod({x},1.5) np.add({x},{n}) np.multiply({n},{x}) np.subtract({x},{y})
    np.true_divide({x},{n}) np.power({x},2) np.maximum({x},{y}) np.minimum({x},{n}) np.fmax({n},{x})
    np.where({mask},{x},{y}) np.where({mask},{x},{s}) np.where({mask},{n},{x}) np.clip({x},-1,1)
    {x}.clip(-0.5,None) np.clip({x},a_min=-1,a_max={s}) np.heaviside({x},0.5) np.logaddexp({x},{y})
    np.copysign({x},{y}) np.nan_to_num({x}) np.round({x},1) np.real({x}) np.imag({x}) np.conj({x})
    {x}.real np.exp(1j*{x}) np.abs({x}+2j) np.angle({x}+2j) np.float64({s})*{x} np.float32({s})*{x}
    {x}.astype(np.float32) {x}.astype(float) {x}.astype(int) {x}.astype(np.float16) {x}>{y} {x}<={s}
    np.isfinite({x}) {x}==({y}) divmod({x},1.5)[1] np.modf({x})[0] np.ldexp({x},{i})
    np.nextafter({x},9.0) np.divmod({x},2.0)[0] np.deg2rad({x})
    np.select([{mask}],[{x}],default={s}) np.piecewise({x},[{mask}],[lambda t:t*2,0.5]) {x}*{a}
    {a}+{x} {x}*True {x}+np.bool_(True) np.multiply({x},{a}) np.logical_and({x},{y})
    np.add({x},{y},dtype=float) np.interp({x},[-1.0,0.0,1.0],[0.5,-1.0,2.0])
    np.interp([0.1,0.7],[-1.0,0.0,1.0],[{s},0.5,{s}]) np.vectorize(lambda t:t*t)({x})
"""
REDUCTIONS = """
    np.sum({x}) np.sum({x},{axis}) {x}.sum(axis={axis},keepdims=True) np.mean({x},axis={axis})
    {x}.mean() np.prod({x},axis={axis}) np.max({x},axis={axis}) {x}.min({axis})
    np.std({x},axis={axis}) np.var({x},axis={axis},ddof=1) {x}.var(ddof=1)
    np.median({x},axis={axis}) np.ptp({x},axis={axis}) np.sum({x},axis={axis},where={mask})
    np.sum({x},initial=0.5) np.max({x},initial=0.0) np.min({x},axis={axis},initial=9)
    np.cumsum({x},axis={axis}) np.cumprod({x},{axis}) {x}.cumsum() np.diff({x})
    np.diff({x},axis=0,prepend=0.0) np.linalg.norm({x}) np.linalg.norm({x}+3,axis={axis})
    np.average({x},axis={axis}) np.nansum({x},axis={axis}) np.nanmean({x}) np.trapezoid({x})
    np.trapezoid({x},dx=0.5) np.argmax({x}) np.argsort({x},kind="stable")
    np.sort({x}) np.sort({x},axis=0)
    np.any({x}>0) np.all({x}>0,axis={axis}) np.count_nonzero({x}) np.quantile({x},0.3)
    np.percentile({x},40,axis={axis}) np.logaddexp.reduce({x}) np.add.reduce({x})
    np.add.accumulate({x}) np.sum({n},initial={x}) sum({x}) max({x}) min({x}) sum([{x},{y}])
    sorted({x})[0] np.sum({x},dtype=float) np.cov({x}) np.corrcoef({x}) np.histogram({x},bins=3)[0]
    np.unique({x}) np.searchsorted(np.sort({x}),0.3) np.bincount([0,1,1],weights={x})
    np.gradient({x}) np.ediff1d({x}) np.convolve({x},{y}) np.correlate({x},{y}) np.polyval({x},0.5)
    np.polyval([1.0,{s}],{x}) np.mean({x},axis={axis},dtype=float) np.maximum.reduce({x})
    np.maximum.accumulate({x}) np.multiply.reduce({x},axis={axis}) np.fft.fft({x})
    np.fft.irfft(np.fft.rfft({x})) np.abs(np.fft.fft({x})) np.fft.ifft({x},axis=0) np.nanmax({x})
    np.cumulative_sum({x},axis=0)
"""
ARRANGING = """
    {x}.T {x}.reshape(-1) {x}.reshape({shape}) np.reshape({x},{shape}) np.reshape({x},-1,order='F')
    {x}.ravel() np.ravel({x},'F') {x}.flatten() {x}[{at}] {x}[{at}] {x}[{at}] {x}[{mask}]
    {x}[...,None] {x}[None] {x}[::-1] {x}[[0,-1]] {x}[np.array([0,0])] {x}[-1] {x}[{i}:]
    np.take({x},[0,0]) np.take({x},{i},axis={axis})
    np.take_along_axis({x},np.argsort({x},axis=-1),-1) np.concatenate([{x},{y}]) np.stack([{x},{y}])
    np.concatenate([{x},{n}]) np.hstack([{x},{y}]) np.vstack(({x},{y})) np.column_stack([{x},{x}])
    np.append({x},{s}) np.insert({x},1,{s}) np.delete({x},0) np.delete({x},[]) np.repeat({x},2)
    np.repeat({x},2,axis={axis}) np.tile({x},2) np.tile({x},[2,1]) np.roll({x},1)
    np.roll({x},{i},axis={axis}) np.flip({x}) np.flip({x},axis={axis}) np.rot90({x}) np.rot90({x},4)
    np.swapaxes({x},0,-1) np.moveaxis({x},0,-1) np.moveaxis({x},[0],[-1]) np.transpose({x})
    np.expand_dims({x},0) np.expand_dims({x},[0,1]) np.squeeze({x})
    np.broadcast_to({x},(2,)+np.shape({x})) np.broadcast_arrays({x},{y})[0] np.atleast_2d({x})
    np.atleast_1d({x}) np.pad({x},1) np.pad({x},1,mode='edge') np.pad({x},(1,2),constant_values={s})
    np.pad({x},1,constant_values={y}) np.split({x},1)[0] np.array_split({x},2)[1] np.unstack({x})[0]
    np.diag({x}) np.diagonal({x}) np.tril({x}) np.triu({x},1) np.trace({x}) np.kron({x},{y})
    np.outer({x},{y}) np.meshgrid({x},{y})[0] np.vander({x},3) np.block([{x},{y}])
    np.resize({x},(2,2)) np.choose([0,1,0],[{x},{y}]) np.compress([True,False,True],{x})
    np.extract({mask},{x}) np.copy({x}) {x}.copy() copy.copy({x}) copy.deepcopy({x})
    copy.deepcopy([{x}])[0] np.asarray({x}*1) np.array({x}) np.array([{x},{y}])
    np.full_like({x},0.5)*{x} np.zeros_like({x})+{x} np.ones_like({x})*{y}
    np.ascontiguousarray({x}*1)
    np.linspace({x},{y},3) np.fliplr({x}) np.flipud({x}) {x}.swapaxes(0,-1) {x}.squeeze()
    {x}.repeat(2) {x}.take([0]) {x}.diagonal() {x}.transpose() {x}.flat[0] np.dsplit({x},1)[0]
    np.partition({x},1) np.lexsort([{x}]) np.nonzero({x}>0.1)[0] np.argwhere({x}>0)
    np.require({x}*1)
    np.concatenate([{x},{y}],axis=None) np.stack([{x},{x}],axis=-1) np.take({x},[1,0],mode='wrap')
    {x}.ravel('K') [t for t in {x}][0] list({x})[-1] tuple({x})[0] np.fromiter({x},float)
    pickle.loads(pickle.dumps({x})) np.put_along_axis(np.zeros((1,)),np.array([0]),{s},0)
    np.r_[0.5,{x}] np.select([{mask}],[{x}]) np.place(np.zeros(3),[True]*3,{x}) {x}.view()
    {x}.dot({n}) {x}.trace()
"""
MATRICES = """
    {x}@{y} np.dot({x},{y}) {x}.dot({y}) np.matmul({x},{y}) np.dot({n},{x}) np.inner({x},{y})
    np.vdot({x},{y}) np.tensordot({x},{y},1) np.tensordot({x},{y},axes=0)
    np.einsum('...i,...i->...',{x},{y}) np.einsum('i,j',{x},{y}) np.einsum('ij->ji',{x})
    np.einsum('ii',{x}) np.einsum('ii->i',{x}) np.cross({x},{y}) np.linalg.inv({x}+4*np.eye(3))
    np.linalg.solve({x}+4*np.eye(3),{y}) np.linalg.det({x}) np.linalg.matrix_power({x},2)
    np.linalg.slogdet({x})[1] np.linalg.svd({x},compute_uv=False)
    np.linalg.eigvalsh({x}+{x}.T+np.diag([1.0,4.0,9.0]))
    np.linalg.cholesky({x}@{x}.T+np.eye({x}.shape[0])) np.linalg.pinv({x})
    np.linalg.lstsq({x},{y}+0.37,rcond=None)[0] np.linalg.multi_dot([{x},{x},{x}])
    np.vecdot({x},{y})
    np.linalg.norm({x},ord=1) np.linalg.norm({x},2) np.linalg.cond({x}) [[1.0,2.0,0.5]]@{x}
    {x}@[1.0,2.0,0.5] np.sum(np.asmatrix({n})*{x}) np.sum({x}*np.asmatrix({n}))
    np.sum(np.asmatrix({n})@{x}) np.sum({x}+np.ma.masked_array({n},False))
    np.sum(np.ma.exp({x})) np.ma.sum({x}) np.ma.getdata({x})
    np.sum(np.ma.masked_array(np.ones(3),[False,True,False])*{x})
    np.asarray(np.ones(3).view(np.recarray)*{x})
    np.sum({x}-np.ma.masked_array(np.ones(3),[False,True,False])) np.sum(np.ma.masked_less({x},0))
    np.trace({x}@{y}) np.matvec({x},{y}) np.linalg.outer({x},{y}) np.apply_along_axis(np.sum,0,{x})
    np.apply_along_axis(lambda r:r*2,-1,{x}) np.sum(np.outer({x},[1.0,2.0]),1)
    np.linalg.qr({x}+3*np.eye(3))[1]
"""
WRITES = """
    !{x}[{at}]={s} !{x}[{at}]={y} !{x}[{at}]*=2.0 !{x}[{mask}]=0.5 !{x}[{mask}]+=1.0 !{x}[0]={y}
    !{x}[-1]=[0.5] !{x}+={y} !{x}-=0.5 !{x}*={n} !{x}/=2.0 !{x}**=2 !{x}[...]={y} !{x}[::-1]={x}
    !{x}[[0,0]]=[1.0,2.0] !{x}[0],{x}[-1]={y},{y} !{x}.fill(0.5) !{x}.sort() !{x}.flat[0]={s}
    !{x}.T[0]={s} !{x}.reshape(-1)[0]=0.25 !np.put({x},[0],[0.5]) !np.copyto({x},{y})
    !np.copyto({x},0.5,where={mask}) !np.fill_diagonal({x},0.5) !np.add({x},1.0,out={x})
    !np.sin({x},out={y}) !np.multiply({x},{y},out={x}) !np.add.at({x},[0,0],1.0)
    !np.place({x},{mask},[0.5]) !np.putmask({x},{mask},0.5) !{x}.put(0,{s}) !{x}.partition(1)
    !{x}.real=0.5 !np.cumsum({x},out={x}) !{x}[{at}]-={y} !{x}[None][0]=0.5 !{x}[{i}]={x}[0]
    !{x}[{at}]={a} !{x}//=1.0 !np.clip({x},-1,1,out={x}) !{x}[:]={x}[::-1] !{x}[{at}]=math.exp(0.5)
    !np.nan_to_num({x},copy=False) !(lambda z:z.__setitem__(0,{x}))(np.zeros(3)) !{x}[1:]+={x}[:-1]
"""
READS = """
    (lambda z:(z.__setitem__(0,{x}),z)[1])(np.zeros(3)) (lambda z:(z.fill({x}),z)[1])(np.zeros(2))
    (lambda z:(z.flat.__setitem__(1,{x}),z)[1])(np.zeros(3)) np.array([1,2])*float({x})
    math.exp({x}) math.hypot({x},{y}) complex({x}) np.ones(2)*int({x}) np.full(2,{x})
    np.arange(3)*float(np.sum({x})) np.fromiter([{x}],float) ({x} if np.sum({x})>0 else {y})
    (1.0 if {x}>0.2 else 2.0)*{y} ({x}*1 if f'{{{x}}}' else {y}) {x}*len({x}) {x}*(np.argmax({x}))
    {x}[np.argmax({x})] {x}*np.shape({x})[0] {x}[np.flatnonzero({x}>0)] ({x}<{y})*{x}
    np.array([float({x}),1.0]) (lambda z:(z.__iadd__({x}),z)[1])(np.zeros(3)) np.zeros(3)+{x}
    np.ones(3)*{x} np.max([{x},{y}]) np.stack([t*t for t in {x}]) sum(t*t for t in {x})
    np.prod([float(1),2])*{x} np.array([0.5],dtype=object)*{x} round({x},1) {x}.item()*0+{x}
    ({x}.tolist() and {x}) (str({x}) and {x}) (0.5 in {x})*{x} ({x}!=None) bool(np.any({x}))*{x}
    np.allclose({x},{x})*{x} np.size({x})*{x}
"""


def _templates(text: str) -> list[str]:
    """The templates of a paragraph, split at blanks outside of brackets and quotes."""
    found, depth, quoted, word = [], 0, "", ""
    for letter in text:
        if quoted:
            quoted = "" if letter == quoted else quoted
        elif letter in "'\"":
            quoted = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        if letter.isspace() and not depth and not quoted:
            if word and not (found and found[-1].endswith((" if", " for"))):
                found.append(word)
            word = ""
        else:
            word += letter
    return found


FAMILIES = {
    "elementwise": (_templates(ELEMENTWISE), 5),
    "reductions": (_templates(REDUCTIONS), 3),
    "arranging": (_templates(ARRANGING), 4),
    "matrices": (_templates(MATRICES), 2),
    "writes": (_templates(WRITES), 3),
    "reads": (_templates(READS), 1),
}

CONSTANTS = [
    "2", "0.5", "-1.5", "True", "[1.0,2.0,0.5]", "(1.0,0.5,2.0)", "np.float64(1.5)",
    "np.float32(0.5)",
    "np.array([1.0,-2.0,0.5])", "np.array([1,2,3])", "np.array([[1.0],[2.0]])", "np.eye(3)",
    "np.array([True,False,True])", "np.arange(6.0).reshape(2,3)", "np.array(1.5)",
    "[[1.0,2.0],[0.5,1.0]]",
    "np.ones(3,np.float32)", "np.arange(1,4,dtype=np.int8)", "np.ones((2,3))[:, ::-1]",
    "np.broadcast_to(0.5,(3,))", "np.array([1+1j,0.5,2j])", "np.ones(3).view(np.memmap)" ,
]  # fmt: skip
INDICES = [
    "0", "-1", "1", "...", "1:", ":2", "::-1", "::2", "None", "[0]", "[0,-1]", "0,0", "...,0",
    ":,1",
    "0,...", ":,None", "...,::-1", "[0,1],[1,0]", "np.array([[0,1],[1,0]])", "[True,False,True]",
    "np.array([0]),...", "1,1:", "-1:", "()", "np.int64(0)", "True",
]  # fmt: skip


@dataclasses.dataclass
class Program:
    """inputs: arrays of floats; lines: Python code on the list v, which begins with the inputs."""

    inputs: list[np.ndarray]
    lines: list[str]

    def __str__(self) -> str:
        inputs = ", ".join(f"np.array({x.tolist()}, np.{x.dtype})" for x in self.inputs)
        return "\n".join([f"v = [{inputs}]", *self.lines])

    def run(self, inputs: list) -> list:
        """All values that the program has at the end."""
        return _run(compile("\n".join(self.lines), "<program>", "exec"), inputs)


def _run(code, inputs: list, **names) -> list:
    values = list(inputs)
    exec(code, {**NAMES, **names, "v": values})  # text made here
    return values


def _keep_as_tensor(value):
    """A constant as a Tensor: a write into an ndarray is none that the tape could notice."""
    return tg.Tensor(value) if _is_float(value) else keep(value)


def _layout(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """x in one of the memory layouts that arrays come in."""
    kind = rng.integers(6)
    if kind == 0:
        return np.asfortranarray(x)
    if kind == 1 and x.ndim:
        wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]))
        wide[..., ::2] = x
        return wide[..., ::2]
    if kind == 2 and x.ndim:
        return x[::-1].copy()[::-1]
    return x


def _is_float(value) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "fc"


def _tame(value) -> bool:
    """Whether later steps can use a value: finite, not huge, not large."""
    if isinstance(value, (bool, int, float, complex)):
        return math.isfinite(abs(value)) and abs(value) < 1e4
    if isinstance(value, (np.ma.MaskedArray, np.matrix)) or not hasattr(value, "dtype"):
        return False
    if value.dtype.kind not in "biufc":
        return False
    with np.errstate(all="ignore"):
        return value.size <= 60 and bool(np.all(np.abs(value) < 1e4))


def make_program(seed: int) -> Program:
    """The program of a seed: up to four inputs of several shapes, and up to ten steps."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _make(np.random.default_rng([seed, 28]))


def _make(rng: np.random.Generator) -> Program:
    inputs = []
    for _ in range(int(rng.integers(1, 4))):
        shape = SHAPES[rng.integers(len(SHAPES))]
        inputs.append(_layout(rng, np.asarray(rng.uniform(-1.5, 1.5, shape))))
    values, lines = [x.copy(order="K") for x in inputs], []
    wanted = int(rng.integers(2, 11))
    weights = np.array([weight for _, weight in FAMILIES.values()], float)
    families = [templates for templates, _ in FAMILIES.values()]
    for _ in range(6 * wanted):
        if len(lines) >= wanted:
            break
        family = families[rng.choice(len(families), p=weights / weights.sum())]
        line = _fill(rng, family[rng.integers(len(family))], values)
        backup = copy.deepcopy(values)
        try:
            with np.errstate(all="ignore"):
                exec(line, {**NAMES, "v": values})  # text made here
        except Exception:  # noqa: BLE001  # what NumPy itself refuses is no step
            _restore(values, backup)
            continue
        if all(map(_tame, values)):
            lines.append(line)
        else:
            _restore(values, backup)
    # deepcopy tears views from their bases, so the program is run from the start once more
    return Program(inputs, lines)


def _restore(values: list, backup: list) -> None:
    del values[len(backup) :]
    for i, (value, before) in enumerate(zip(values, backup, strict=True)):
        if isinstance(value, np.ndarray) and value.flags.writeable:
            value[...] = before
        else:
            values[i] = before


def _fill(rng: np.random.Generator, template: str, values: list) -> str:
    floats = [i for i, value in enumerate(values) if _is_float(value)]
    recent = floats[-4:]

    def value() -> int:
        return int(rng.choice(recent if rng.random() < 0.7 else floats))

    x, y = value(), value()
    shape = np.shape(values[x])
    axes = ["None", *map(str, range(-len(shape), len(shape)))]
    size = int(np.prod(shape, dtype=int))
    shapes = [f"({size},)", f"(1,{size})", f"({size},1)", "(2,-1)", "(-1,3)", "(3,-1)"]
    filled = template.lstrip("!").format(
        x=f"v[{x}]",
        y=f"v[{y}]",
        a=f"v[{rng.integers(len(values))}]",
        n=CONSTANTS[rng.integers(len(CONSTANTS))],
        s=["0.5", "1.5", "-0.25", f"v[{y}]", "2"][rng.integers(5)],
        i=str(rng.integers(-1, 3)),
        axis=axes[rng.integers(len(axes))],
        at=INDICES[rng.integers(len(INDICES))],
        mask=[f"v[{x}]>0.1", f"v[{y}]<0", f"v[{x}]<v[{y}]"][rng.integers(3)],
        shape=shapes[rng.integers(len(shapes))],
    )
    return filled if template.startswith("!") else f"v.append(keep({filled}))"


# Running and judging ------------------------------------------------------------------------------


@dataclasses.dataclass
class Outcome:
    """What became of a program: "right", "refused", "unclear" (kinks, noise), or a fault."""

    kind: str
    note: str = ""
    line: int = -1  # the index of the line that was refused

    @property
    def is_fault(self) -> bool:
        """Whether the program differs from NumPy, or fails without a refusal."""
        return self.kind in ("differs", "crashes")


def _number(value, weigh: int):
    """One number that depends on all entries of a value, as NumPy or Tensor computes it."""
    if not hasattr(value, "dtype"):
        return value * 0.3 if isinstance(value, (int, float)) else 0.0
    if value.dtype.kind not in "fc":
        return 0.0
    weights = np.cos(np.arange(weigh, weigh + value.size, dtype=float)).reshape(value.shape)
    total = np.sum(np.real(value) * weights)
    return total + np.sum(np.imag(value) * (weights - 0.3)) if value.dtype.kind == "c" else total


def _result(values: list):
    total = 0.0
    for i, value in enumerate(values):
        if isinstance(value, (list, tuple)):
            value = value[0] if value else 0.0
        total = total + _number(value, i)
    return total


def _compare(values: list, expected: list, coarsest: float) -> str:
    """Where the values of a program on Tensors are not NumPy's; "" if nowhere.

    coarsest: the rounding of the least precise floats in the program
    """
    for i, (found, right) in enumerate(zip(values, expected, strict=True)):
        where = f"v[{i}]"
        if isinstance(right, np.ma.MaskedArray):
            right = right.filled(np.nan)
        if not isinstance(right, (np.ndarray, np.generic)):
            if isinstance(found, tg.Tensor) or isinstance(right, (list, tuple)):
                continue
            if found != right and not np.isclose(found, right):
                return f"{where} is {found!r}, NumPy has {right!r}"
            continue
        found = found.detach().numpy() if isinstance(found, tg.Tensor) else np.asarray(found)
        if found.shape != right.shape or found.dtype != right.dtype:
            return f"{where} is {found.dtype}{found.shape}, NumPy has {right.dtype}{right.shape}"
        epsilon = max(float(np.finfo(right.dtype).eps), coarsest) if right.dtype.kind in "fc" else 0
        if not np.allclose(found, right, rtol=1e4 * epsilon, atol=1e4 * epsilon, equal_nan=True):
            return f"{where} is {found.tolist()}, NumPy has {right.tolist()}"
    return ""


def check_program(program: Program) -> Outcome:
    """Run a program on arrays and on Tensors, and compare values and gradients.

    A line that is refused is replaced by a constant, so that the others are compared all the same.
    """
    refused: Outcome | None = None
    lines = list(program.lines)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for _ in range(len(lines) + 1):
            outcome = _check(Program(program.inputs, lines))
            if outcome.kind != "refused":
                break
            refused = refused or outcome
            if outcome.line < 0:
                break
            lines[outcome.line] = "v.append(0.5)" if "v.append" in lines[outcome.line] else "pass"
    return outcome if refused is None or outcome.is_fault else refused


def _check(program: Program) -> Outcome:
    code = compile("\n".join(program.lines), "<program>", "exec")

    def on_arrays(inputs) -> list:
        return _run(code, [np.array(x, order="K") for x in inputs])

    try:
        expected = on_arrays(program.inputs)
    except Exception as error:  # noqa: BLE001  # NumPy refuses it
        return Outcome("invalid", str(error))
    if not all(map(_tame, expected)):
        return Outcome("invalid", "not finite")
    seen: list = []

    def on_tensors(inputs):
        # The inputs are copied, as on arrays: a write into a variable would be refused.
        values = _run(code, [np.copy(x) for x in inputs], keep=_keep_as_tensor)
        seen.append(values)
        return _result(values) + sum(np.sum(x) for x in inputs) * 0

    try:
        _, gradient = tg.value_and_grad(on_tensors)([np.asarray(x) for x in program.inputs])
    except Exception as error:  # noqa: BLE001  # a refusal, or a fault
        line = _line_of(error)
        where = "the derivative" if line < 0 else program.lines[line]
        note = f"{where}: {type(error).__name__}: {error}"
        return Outcome("refused" if _is_refusal(error) else "crashes", note, line)
    text = " ".join(program.lines)
    halves = {"float16": np.float16, "float32": np.float32}
    coarsest = max((float(np.finfo(halves[t]).eps) for t in halves if t in text), default=0.0)
    different = _compare(seen[0], expected, coarsest / 100)
    if different:
        return Outcome("differs", different)
    return _judge_gradient(program, on_arrays, expected, gradient)


def _judge_gradient(program: Program, on_arrays, expected: list, gradient: list) -> Outcome:
    lowest = max((float(np.finfo(v.dtype).eps) for v in expected if _is_float(v)), default=2.0**-52)
    text = " ".join(program.lines)
    if lowest > 1e-6 or "float16" in text or "float32" in text:
        return Outcome("right", "values only: half or single precision")
    rng = np.random.default_rng(len(program.lines))
    point = [np.asarray(x) for x in program.inputs]
    direction = [rng.standard_normal(x.shape) for x in point]

    def evaluate(inputs) -> list:
        try:
            return [np.asarray(_result(on_arrays(inputs)), float)]
        except Exception:  # noqa: BLE001  # another shape, beyond a kink
            return [np.full((), np.nan)]

    line = Line(evaluate, point, direction, [np.ones(())], evaluate(point), gradient)
    line.magnitude = max(line.magnitude, *(float(np.max(np.abs(v), initial=1.0)) for v in expected))
    terms = [np.sum(np.abs(g * d)) for g, d in zip(gradient, direction, strict=True)]
    analytic = float(sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True)))
    if not math.isfinite(analytic):
        return Outcome("unclear", "no derivative: NaN")
    verdict = judge(line, analytic, float(sum(terms)) + line.magnitude * 1e-3)
    if verdict.verdict == "wrong":
        note = f"slope {analytic}, differences give {verdict.slope.value} ± {verdict.slope.error}"
        return Outcome("differs", note)
    return Outcome("right" if verdict.verdict == "ok" else "unclear", verdict.verdict)


def _is_refusal(error: BaseException) -> bool:
    """Whether an error says that this cannot be done, and not that something went wrong."""
    if isinstance(error, AttributeError):
        return f"{error.name}': " in str(error)  # of arrays, with what to write instead
    if isinstance(error, (TypeError, InPlaceError)):
        return "positional arg" not in str(error)
    return isinstance(error, ValueError) and _raised_by_us(error)


def _raised_by_us(error: BaseException) -> bool:
    """Whether a line of tapegrad that begins with `raise` raised an error: a message of ours."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return False
    file = trace.tb_frame.f_code.co_filename
    line = linecache.getline(file, trace.tb_lineno).strip()
    ours = str(trace.tb_frame.f_globals.get("__name__")).startswith("tapegrad.")
    return ours and line.startswith("raise ")


def _line_of(error: BaseException) -> int:
    """The index of the line of the program that raised an error, -1 if none did."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<program>":
            return trace.tb_lineno - 1
        trace = trace.tb_next
    return -1


def run_programs(count: int, first: int = 0) -> tuple[Counter, list[tuple[int, Program, Outcome]]]:
    """(how many programs had which outcome, the faults), of the seeds first … first + count − 1."""
    outcomes: Counter = Counter()
    faults = []
    for seed in range(first, first + count):
        program = make_program(seed)
        outcome = check_program(program)
        outcomes[outcome.kind] += 1
        if outcome.is_fault:
            faults.append((seed, program, outcome))
    return outcomes, faults


def describe(faults: list[tuple[int, Program, Outcome]]) -> str:
    """The faults as text, each with its program."""
    return "\n\n".join(f"seed {s}: {o.kind}: {o.note}\n{p}" for s, p, o in faults)


if __name__ == "__main__":
    arguments = [int(word) for word in sys.argv[1:]] or [1000]
    counted, found = run_programs(*arguments)
    sys.stdout.write(f"{dict(counted)}\n{describe(found)}\n")
    sys.exit(bool(found))
