"""Every field of every class that is written, held against what Torch7 itself writes.

Each object of tests/data/torch7/written.tar.xz is read and written again, built anew from its
record, and run, and what `torch7.save` makes of it is compared field by field: presence, type,
version, shape, value, and what shares memory.  DEPARTURES has the differences by design with their
reasons; one that nothing needs any more fails.  The summary of the run says how many fields were
compared.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch7_records as torch7
from torch7_written import Comparison, Departure, Difference, files, tensors_of_another_type

from tapegrad import default_dtype, nn, set_default_dtype
from tapegrad.autograd import no_grad
from tapegrad.nn.formats import torch7 as t7

pytestmark = pytest.mark.extra  # README's command has five minutes

RECORDS = {entry["id"]: entry for entry in torch7.index(torch7.OWN)}

# Differences by design ---------------------------------------------------------------------------

NIL = "false, where Torch7's constructor leaves nil, which is false in Lua"
MODE = "every module is written with its mode; nil, in parts that training() never reached, is true"
UNINITIALIZED = "Torch7's constructor does not set the entries"

# Of what Torch7's constructors make.
OF_NEW_OBJECTS = (
    Departure("*", "train", "extra", MODE),
    Departure(
        "nn.Add nn.CAddTable nn.DontCast nn.Dropout nn.MaskZero nn.ParallelCriterion nn.SAdd",
        "scalar inplace castin stochastic_inference maskinput repeatTarget negate",
        "extra",
        NIL,
    ),
    Departure("nn.Bottle", "inShape outShape", "value", UNINITIALIZED),
    Departure("nn.ClassSimplexCriterion", "_target", "value", UNINITIALIZED),
    Departure("nn.LinearWeightNorm", "norm scale", "value", UNINITIALIZED),
    Departure("nn.MarginRankingCriterion", "gradInput.1 gradInput.2", "value", UNINITIALIZED),
    Departure("nn.Reshape", "batchsize", "value", UNINITIALIZED),
    Departure("nn.SparseLinear", "output", "value", UNINITIALIZED),
    Departure(
        "nn.SpatialDivisiveNormalization nn.SpatialSubtractiveNormalization",
        "coef",
        "value",
        UNINITIALIZED,
    ),
    Departure("nn.SpatialConvolution", "gradWeight gradBias", "value", UNINITIALIZED),
    Departure(
        "nn.SpatialUpSamplingBilinear nn.SpatialUpSamplingNearest",
        "inputSize outputSize",
        "value",
        UNINITIALIZED,
    ),
    Departure("nn.WeightNorm", "_norm _scale", "value", UNINITIALIZED),
    Departure(
        "nn.LinearWeightNorm",
        "weight",
        "value",
        "the recording put v and g in after the constructor had made the weight",
    ),
    Departure(
        "nn.FlattenTable",
        "_type",
        "value",
        "its own type() in Torch7 leaves _type alone, which nothing reads",
    ),
    Departure(
        "nn.RecGRU nn.Recursor",
        "seqlen",
        "value",
        "the layers in a Repeater may take any number of steps",
    ),
)

# Of objects that are built here from the arguments of their constructors, besides those.
OF_BUILT_OBJECTS = (
    Departure("*", "grad* gradWeight gradBias", "value", UNINITIALIZED),
    Departure("nn.Kmeans", "clusterSampleCount", "value", UNINITIALIZED),
    Departure("nn.Convert nn.DontCast", "transposition castout", "extra", NIL),
    Departure(
        "nn.Dropout",
        "flag lazy mono",
        "missing",
        "torch/rnn gives them to its Dropout: a mask that steps share; nil is a mask for each call",
    ),
    Departure(
        "nn.Replicate",
        "dim ndim",
        "value missing",
        "LayerNormalization subtracts from each sample its own mean (nn/DIFFERENCES.md)",
    ),
    Departure(
        "nn.LayerNormalization",
        "start",
        "extra",
        "where reset() lets the bias start, which Torch7 does not keep",
    ),
    Departure(
        "nn.SpatialSubtractiveNormalization",
        "kernel",
        "sharing",
        "the parts of a SpatialContrastiveNormalization have equal kernels of their own",
    ),
)

RESULT = "what a call computed is not kept"
ROOM = "working memory, which Torch7's methods make or resize when they run"
CLONES = "the copies of a module that runs several times, and what they computed, are made anew"
ROWS = (
    "Torch7 gathers gradients of an IndexLinear as tables of rows, which are empty when it is new"
)
TARGET = "what a call computed from its target, in the target's type, is not kept"
GRADIENT = "a backward there gives them the shape of the weight; the entries are those of v and g"
CONVERTER = "made for the input of the first call; here nothing is"

# Of objects that Torch7 has run, besides those of new ones.
OF_RUN_OBJECTS = (
    Departure("*", "output* gradInput*", "missing shape type value", RESULT),
    Departure("*", "_*", "missing shape", ROOM),
    Departure("nn.MapTable", "modules.*", "missing", CLONES),
    Departure(
        "nn.BatchNormalization nn.SpatialBatchNormalization nn.VolumetricBatchNormalization",
        "save_mean save_std",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.Bilinear",
        "buff1 buff2",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.CMaxTable",
        "maxIdx maxVals",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.CMaxTable nn.CMinTable",
        "gradMaxVals maskByteTensor",
        "missing shape",
        ROOM,
    ),
    Departure(
        "nn.CMaxTable nn.CMinTable nn.MarginRankingCriterion",
        "mask",
        "missing shape",
        ROOM,
    ),
    Departure(
        "nn.CMinTable",
        "minIdx minVals",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.ClassNLLCriterion nn.ModuleCriterion nn.SpatialClassNLLCriterion",
        "target",
        "missing type",
        TARGET,
    ),
    Departure(
        "nn.ClassNLLCriterion nn.SpatialClassNLLCriterion",
        "total_weight_tensor",
        "value",
        TARGET,
    ),
    Departure(
        "nn.Convert",
        "converter modules.*",
        "missing",
        CONVERTER,
    ),
    Departure(
        "nn.CosineDistance nn.CosineEmbeddingCriterion",
        "w w1 w22 w32",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.CosineDistance nn.CosineEmbeddingCriterion nn.DotProduct "
        "nn.HingeEmbeddingCriterion nn.LogSigmoid nn.Normalize nn.PartialLinear "
        "nn.WeightedMSECriterion",
        "buffer",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.CosineDistance nn.PairwiseDistance nn.SpatialDivisiveNormalization "
        "nn.SpatialFullConvolution nn.SpatialSubtractiveNormalization",
        "ones",
        "missing shape",
        ROOM,
    ),
    Departure(
        "nn.DistanceRatioCriterion",
        "dX dY loss",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.Dropout nn.RReLU nn.SpatialDropout nn.VolumetricDropout nn.WhiteNoise",
        "noise",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.FastLSTM nn.GRU nn.LSTM",
        "nSharedClone",
        "missing",
        CLONES,
    ),
    Departure(
        "nn.FastLSTM nn.GRU nn.LSTM nn.LinearRNN",
        "zeroTensor",
        "missing shape",
        CLONES,
    ),
    Departure(
        "nn.FastLSTM nn.GRU nn.LSTM nn.LinearRNN nn.RecGRU nn.RecLSTM nn.Recursor",
        "sharedClones.* step",
        "missing value",
        CLONES,
    ),
    Departure(
        "nn.FastLSTM nn.GRU nn.LSTM nn.LinearRNN nn.RecLSTM",
        "seqlen",
        "value",
        CLONES,
    ),
    Departure(
        "nn.FastLSTM nn.LSTM nn.RecLSTM",
        "cells.*",
        "missing",
        CLONES,
    ),
    Departure(
        "nn.FastLSTM nn.LSTM nn.RecLSTM nn.SeqLSTM",
        "cell",
        "missing shape",
        CLONES,
    ),
    Departure(
        "nn.FlattenTable",
        "input_map.*",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.GRU nn.LinearRNN nn.Recursor",
        "rmInSharedClones",
        "missing",
        CLONES,
    ),
    Departure(
        "nn.HingeEmbeddingCriterion",
        "ty",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.IndexLinear",
        "cumSumSizes cumSumSizesCache.* gradWeight keys lkeys lvalues running.counter "
        "running.cumSumSizes.* running.gradWeight.* running.keys.* sizes sizesCache.* "
        "updateKeys values",
        "missing shape value",
        ROWS,
    ),
    Departure(
        "nn.JoinTable nn.MixtureTable",
        "size",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.Linear nn.LinearWeightNorm nn.PartialLinear",
        "addBuffer",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.LookupTable nn.LookupTableMaskZero",
        "copiedInput shouldScaleGradByFreq",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.MarginRankingCriterion",
        "dist",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.MixtureTable",
        "batchSize size2",
        "shape value",
        ROOM,
    ),
    Departure(
        "nn.MultiLabelMarginCriterion",
        "isTarget",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.MultiMarginCriterion",
        "target_tensor",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.Normalize",
        "cross norm normp",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.Normalize nn.SeqLSTM",
        "buffer2",
        "missing shape",
        ROOM,
    ),
    Departure(
        "nn.PReLU",
        "gradWeightBuf gradWeightBuf2",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.PairwiseDistance",
        "diff grad outExpand",
        "missing shape",
        ROOM,
    ),
    Departure(
        "nn.Parallel",
        "totalOutputSize",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.RecGRU nn.RecLSTM",
        "zeroOutput",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.RecLSTM",
        "zeroCell",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.SeqGRU nn.SeqLSTM",
        "buffer1 buffer3 grad_a_buffer h0",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.SeqGRU nn.SeqLSTM nn.StepGRU nn.StepLSTM",
        "gates",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.SeqLSTM",
        "c0",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.Sequencer",
        "tablegradinput tableoutput.*",
        "missing",
        CLONES,
    ),
    Departure(
        "nn.SoftMin",
        "mininput",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.SoftSign",
        "temp tempgrad",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.SparseLinear",
        "formatted_input lastInput sparseUpdate",
        "missing value",
        ROOM,
    ),
    Departure(
        "nn.SpatialAdaptiveMaxPooling nn.SpatialDilatedMaxPooling "
        "nn.SpatialFractionalMaxPooling nn.SpatialMaxPooling nn.SpatialMaxUnpooling "
        "nn.TemporalDynamicKMaxPooling nn.TemporalMaxPooling "
        "nn.VolumetricDilatedMaxPooling nn.VolumetricFractionalMaxPooling "
        "nn.VolumetricMaxPooling nn.VolumetricMaxUnpooling",
        "indices",
        "missing type",
        ROOM,
    ),
    Departure(
        "nn.SpatialConvolution nn.SpatialConvolutionLocal nn.SpatialConvolutionMM "
        "nn.SpatialDepthWiseConvolution nn.SpatialDilatedConvolution "
        "nn.SpatialFullConvolution nn.TemporalRowConvolution nn.VolumetricConvolution "
        "nn.VolumetricDilatedConvolution nn.VolumetricFullConvolution",
        "fgradInput finput",
        "missing shape",
        ROOM,
    ),
    Departure(
        "nn.SpatialCrossMapLRN",
        "accumRatio paddedRatio scale",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.SpatialDivisiveNormalization",
        "adjustedstds localstds thresholdedstds",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.SpatialDivisiveNormalization nn.SpatialSubtractiveNormalization",
        "coef",
        "shape",
        ROOM,
    ),
    Departure(
        "nn.SpatialFullConvolution",
        "zeroScalar",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.SpatialSubtractiveNormalization",
        "adjustedsums localsums",
        "missing",
        ROOM,
    ),
    Departure(
        "nn.UpSampling",
        "inputSize",
        "value",
        ROOM,
    ),
    Departure(
        "nn.WeightNorm",
        "gradG gradV",
        "shape",
        GRADIENT,
    ),
)

counted: Counter[str] = Counter()  # fields, by how the objects were made
reasoned: Counter[str] = Counter()  # differences, by reason


class Tally:
    """Prints, at the end of the run, how many fields were compared, and why some differ."""

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if counted:
            terminalreporter.section("fields of Torch7's files")
        for how, count in counted.items():
            terminalreporter.write_line(f"{how}: {count} fields compared")
        for reason, count in reasoned.items():
            terminalreporter.write_line(f"by design: {reason} ({count})")


@pytest.fixture(scope="module", autouse=True)
def tally(request: pytest.FixtureRequest) -> None:
    request.config.pluginmanager.register(Tally(), "torch7-written-tally")


# Making objects ----------------------------------------------------------------------------------


def record_of(name: str) -> Any:
    """The record of a file "CLASS.N-d"."""
    cls, number = name.rsplit("-", 1)[0].rsplit(".", 1)
    return torch7.resolved(RECORDS[f"{cls}/{number}"], torch7.OWN)


def loaded(name: str, folder: str = "fresh") -> Any:
    """What `load` makes of a file, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return t7.load(files(folder)[name])


def built(name: str) -> Any:
    """The object of a file by our own constructors, with the recorded parameters.

    Nothing is converted: constants stay in double precision inside objects of single precision.
    """
    record, usual = record_of(name), default_dtype()
    single = name.endswith("f") and record["class"] != "nn.DontCast"  # which Torch7 made in double
    set_default_dtype(np.float32 if single else np.float64)
    try:
        made = torch7.Builder(lambda cls: getattr(nn, cls))(record["spec"])
    finally:
        set_default_dtype(usual)
    if not single:
        made.double()
    if record["kind"] != "module":
        return made
    with no_grad():
        for parameter, values in zip(made.parameters()[0], record.get("params", []), strict=True):
            parameter[...] = values
        for key, values in record.get("buffers_before", {}).items():
            getattr(made, key)[...] = values
    return made.evaluate() if record["mode"] == "eval" else made.training()


def after_a_run(name: str) -> Any:
    """What `load` makes of a file, after a run on data of the other precision."""
    record, made = record_of(name), loaded(name)
    other = np.float32 if name.endswith("d") else np.float64
    if record["kind"] == "criterion":
        return made
    x = torch7.from_one_based(record["input"], torch7.input_kind(made))
    if isinstance(made, nn.MaskZero):
        made.setZeroMask(False)
    made.forward(in_type(x, other))
    return made


def in_type(value: Any, dtype: Any) -> Any:
    """The floating point arrays of nested lists in another dtype."""
    if isinstance(value, list):
        return [in_type(item, dtype) for item in value]
    return value.astype(dtype) if value.dtype.kind == "f" else value


# Comparing ---------------------------------------------------------------------------------------


def compared(
    names: list[str], make: Callable[[str], Any], folder: str, path: Path
) -> Iterator[tuple[str, Difference]]:
    """(file, difference) of all that is written of what `make` makes; counts the fields."""
    for name in names:
        t7.save(make(name), path)
        comparison = Comparison(t7.objects(path), t7.objects(files(folder)[name]))
        counted[make.__name__] += comparison.count
        for difference in comparison.differences:
            yield name, difference


def explain(
    found: Iterator[tuple[str, Difference]],
    departures: tuple[Departure, ...],
    besides: tuple[Departure, ...] = (),
) -> None:
    """Fail for differences without a reason, and for reasons without a difference.

    besides: departures that may not be needed
    """
    unexplained: dict[Difference, str] = {}
    used: set[tuple[int, str]] = set()
    for name, difference in found:
        reasons = [(i, d) for i, d in enumerate(departures) if d.covers(difference)]
        used |= {(i, word) for i, d in reasons for word in d.words(difference)}
        others = [d for d in besides if d.covers(difference)]
        if reasons or others:
            reasoned[(others or [reasons[0][1]])[0].reason] += 1
        else:
            unexplained.setdefault(difference, name)
    assert unexplained == {}
    needless = [
        (departure.cls, word)
        for i, departure in enumerate(departures)
        for word in departure.all_words()
        if (i, word) not in used
    ]
    assert needless == [], "words of DEPARTURES that explain no difference"


def test_what_is_read_is_written_as_torch7_makes_it(tmp_path: Path) -> None:
    names = list(files("fresh"))
    assert len(names) >= 728
    explain(compared(names, loaded, "fresh", tmp_path / "x.t7"), OF_NEW_OBJECTS)


def test_what_is_built_here_is_written_as_torch7_makes_it(tmp_path: Path) -> None:
    found = compared(list(files("fresh")), built, "fresh", tmp_path / "x.t7")
    explain(found, OF_BUILT_OBJECTS, OF_NEW_OBJECTS)


def run_there(name: str) -> Any:
    """What `load` makes of an object that Torch7 has run forward and backward."""
    return loaded(name, "after_run")


def test_what_torch7_has_run_is_written_with_all_that_a_run_does_not_make(tmp_path: Path) -> None:
    found = compared(list(files("after_run")), run_there, "after_run", tmp_path / "x.t7")
    explain(found, OF_RUN_OBJECTS, OF_NEW_OBJECTS)


def test_everything_in_an_object_that_was_run_here_has_its_type(tmp_path: Path) -> None:
    path = tmp_path / "x.t7"
    found = compared(list(files("fresh")), after_a_run, "fresh", path)
    kinds = ("missing", "type")
    explain(((name, d) for name, d in found if d.kind in kinds), (), OF_NEW_OBJECTS)
    others: set[str] = set()
    for name in files("fresh"):
        if not name.startswith("nn.DontCast"):
            t7.save(after_a_run(name), path)
            others |= tensors_of_another_type(t7.objects(path))
    assert others == {"nn.MaskedSelect._maskIndexBufferCPU"}  # which is a FloatTensor in Torch7


def test_fields_of_classes_that_torch7_wrote_nothing_of(tmp_path: Path) -> None:
    """nn.Profile can not be saved there, and nn.DontCast was written without its casts."""
    t7.save([nn.Profile(nn.Linear(3, 2)), nn.DontCast(nn.Linear(3, 2), True)], tmp_path / "x.t7")
    profile, dont_cast = t7.objects(tmp_path / "x.t7").as_list()
    assert profile["module"] is profile["modules"][1]
    assert dont_cast["moduleType"] == "torch.FloatTensor"
    again = t7.load(tmp_path / "x.t7")
    assert "moduleType" not in vars(again[1])
    assert again[0].forward(np.ones((1, 3), np.float32)).shape == (1, 2)
