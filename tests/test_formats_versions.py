"""Files of every class, as each version of our format wrote them, load with the same outputs.

saved_modules.py says what is in the archives and who made them.
"""

from __future__ import annotations

import functools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import CRITERIONS, MODULES
from saved_modules import STRANGERS, leaves, run, specials

from tapegrad import nn
from tapegrad.nn.formats.native import FORMAT_VERSION, safetensors_file

pytestmark = pytest.mark.extra  # README's command has five minutes

ARCHIVES = sorted((Path(__file__).parent / "data" / "native").glob("v*_classes.zip"))


@functools.cache
def archive(path: Path) -> tuple[dict[str, bytes], dict[str, np.ndarray], dict[str, Any]]:
    """(files by name, arrays, what is known of each) of an archive."""
    with zipfile.ZipFile(path) as opened:
        files = {name.removesuffix(".safetensors"): opened.read(name) for name in opened.namelist()}
    arrays, metadata = safetensors_file.read(files.pop("expected"))
    return files, arrays, json.loads(metadata["outlines"])


def filled(outline: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(outline, list):
        return [filled(item, arrays) for item in outline]
    return arrays[outline["array"]] if "array" in outline else outline["plain"]


# Classes that were added after the archive of the version that still is the last.
NEWER = {
    "ActivityRegularization",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool3d",
    "AlphaDropout",
    "Attention",
    "BCEWithLogitsCriterion",
    "BiRecurrent",
    "BifurcateSplitTable",
    "BinaryThreshold",
    "BinaryTreeLSTM",
    "BoxHead",
    "CAveTable",
    "CTCCriterion",
    "CategoricalCrossEntropy",
    "ConvLSTMPeephole",
    "ConvLSTMPeephole3D",
    "CosineDistanceCriterion",
    "SyncBatchNormalization",
    "CosineProximityCriterion",
    "Cropping2D",
    "Cropping3D",
    "CrossProduct",
    "DenseToSparse",
    "DetectionOutputFrcnn",
    "DetectionOutputSSD",
    "DiceCoefficientCriterion",
    "DotProductCriterion",
    "Echo",
    "EmbeddingBag",
    "ExpandSize",
    "FPN",
    "FeedForwardNetwork",
    "Flatten",
    "FocalCriterion",
    "GRUCell",
    "GaussianCriterion",
    "GaussianDropout",
    "GaussianNLLCriterion",
    "GaussianNoise",
    "GaussianSampler",
    "Graph",
    "GridSample",
    "HardSigmoid",
    "Highway",
    "HuberCriterion",
    "InferReshape",
    "InstanceNorm",
    "KLDCriterion",
    "KullbackLeiblerDivergenceCriterion",
    "LSTMCell",
    "LSTMPeephole",
    "LearnedPositions",
    "LocallyConnected1D",
    "LocallyConnected2D",
    "LookupTableSparse",
    "MaskHead",
    "Masking",
    "MeanAbsolutePercentageCriterion",
    "MeanSquaredLogarithmicCriterion",
    "MultiRNNCell",
    "Negative",
    "NegativeEntropyPenalty",
    "NormalizeScale",
    "PGCriterion",
    "Pack",
    "PaddingMask",
    "PoissonCriterion",
    "PoissonNLLCriterion",
    "Pooler",
    "PositionEncode",
    "PriorBox",
    "Proposal",
    "RNNLayer",
    "Recurrence",
    "Recurrent",
    "RecurrentDecoder",
    "RegionProposal",
    "ResizeBilinear",
    "Reverse",
    "RnnCell",
    "RoiAlign",
    "RoiPooling",
    "SReLU",
    "SampleWeightedCriterion",
    "Scale",
    "SequenceBeamSearch",
    "SymbolModule",
    "SmoothL1CriterionWithWeights",
    "SoftmaxWithCriterion",
    "SparseJoinTable",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "SpatialSeparableConvolution",
    "SpatialShareConvolution",
    "SpatialWithinChannelLRN",
    "SpectralNorm",
    "TableOperation",
    "Tile",
    "TimeDistributed",
    "TimeDistributedCriterion",
    "TimeDistributedMaskCriterion",
    "Transformer",
    "TransformerCriterion",
    "TransformerDecoderLayer",
    "TripletMarginCriterion",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "WithStates",
}

CASES = [(path, name) for path in ARCHIVES for name in archive(path)[0]]


def test_there_is_an_archive_of_each_version_with_every_class_of_its_time() -> None:
    assert [path.name for path in ARCHIVES] == [
        f"v{n}_classes.zip" for n in range(1, FORMAT_VERSION + 1)
    ]
    for path in ARCHIVES:
        assert set(archive(path)[0]) >= {*MODULES, *CRITERIONS, *specials()} - NEWER
        assert sum(len(data) for data in archive(path)[0].values()) < 1_000_000


@pytest.mark.parametrize(("path", "name"), CASES, ids=lambda x: getattr(x, "stem", x))
def test_a_file_loads_with_the_class_mode_text_and_output_it_had(path: Path, name: str) -> None:
    files, arrays, known = archive(path)
    module = nn.load(files[name], classes=STRANGERS)
    assert name not in nn.__all__ or getattr(nn, name) in map(type, module.listModules())
    assert module.train == known[name]["train"]
    assert repr(module) == known[name]["text"]
    found = leaves(run(module, tuple(filled(known[name]["inputs"], arrays))))
    assert found
    for i, leaf in enumerate(found):
        wanted = arrays[f"{name}/output/{i}"]
        assert leaf.dtype == wanted.dtype
        np.testing.assert_allclose(leaf, wanted, rtol=1e-12, atol=1e-12)
    assert f"{name}/output/{len(found)}" not in arrays


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_what_single_layers_do_not_show_comes_back(path: Path) -> None:
    files = archive(path)[0]

    def loaded(name: str) -> Any:
        return nn.load(files[name], classes=STRANGERS)

    one = loaded("one parameter twice")
    assert one.get(0).weight is one.get(2).weight
    shared = loaded("shared memory")
    assert shared.get(0).weight is not shared.get(2).weight
    assert np.shares_memory(shared.get(0).weight.numpy(), shared.get(2).weight.numpy())
    twice = loaded("one module twice")
    assert twice.get(0) is twice.get(2)
    frozen = loaded("frozen")
    assert len(frozen.parameters()[0]) == 2
    assert len(frozen.unfreeze().parameters()[0]) == 4
    sequence = loaded("masked sequence")
    assert sequence.maskzero
    assert sequence._mask.sum() == 2
    assert loaded("profile").numFwds == 0
    person = loaded("attributes of a person's")
    assert person.note == "seen"
    assert len(person.parameters()[0]) == 3
    theirs = loaded("a stranger's classes")
    assert theirs.named == {"first": theirs.get(0), "last": [theirs.get(1)]}
    scale = theirs.get(0)
    assert scale.settings == {"names": ["a", ("b", 1)], 2: None, "limit": float("inf")}
    assert (scale.kind, scale._note) == (np.float32, "private")


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_a_file_that_is_saved_again_is_of_todays_version(path: Path, tmp_path: Path) -> None:
    for name, data in archive(path)[0].items():
        module = nn.load(data, classes=STRANGERS)
        module.save(tmp_path / "again.safetensors")
        _, metadata = safetensors_file.read(tmp_path / "again.safetensors")
        header = json.loads(metadata["tapegrad"])
        assert header["version"] == FORMAT_VERSION, name
        strangers = {cls.__name__ for cls in STRANGERS}
        for entry in header["modules"]:
            assert entry["class"].startswith("nn.") or entry["class"] in strangers
