"""What BigDL itself wrote as Caffe gives BigDL's recorded outputs, as far as its files hold them.

TAPEGRAD_BIGDL_MODELS names another directory of the same layout.  Files that a model does not have
are skipped by name; a directory without any is a failure.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from caffe_models import ours

from tapegrad.nn.formats import caffe

HERE = Path(__file__).parent / "data" / "bigdl_models"
ROOT = Path(os.environ.get("TAPEGRAD_BIGDL_MODELS", HERE))
PAIRS = {"second format": ("deploy.prototxt", "model.caffemodel"),
         "first format": ("deploy_v1.prototxt", "model_v1.caffemodel"),
         "model alone": (None, "model.caffemodel"),
         "first model alone": (None, "model_v1.caffemodel")}  # fmt: skip
FOLDERS = sorted(path.parent for path in ROOT.glob("*/model.caffemodel"))


def test_there_are_bigdl_models_in_caffe():
    assert FOLDERS, f"{ROOT} has no */model.caffemodel"


def recorded(folder):
    data = np.load(folder / "data.npz")
    return data["input"], data["output_eval"]


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_bigdl_model_in_caffe_gives_the_recorded_output(folder, pair):
    definition, model = (None if name is None else folder / name for name in PAIRS[pair])
    for path in (definition, model):
        if path is not None and not path.exists():
            pytest.skip(f"{folder.name} has no {path.name}")
    x, wanted = recorded(folder)
    module = caffe.load_caffe_model(definition, model)
    [found] = ours(module, x)
    if folder_loses_the_logarithm(wanted):  # BigDL writes its LogSoftMax as Softmax
        found = np.log(found)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def folder_loses_the_logarithm(wanted) -> bool:
    """Whether a recorded output is one of LogSoftMax: probabilities, once it is exponentiated."""
    return wanted.ndim == 2 and bool((wanted < 0).all()) and np.allclose(np.exp(wanted).sum(1), 1)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_bigdl_model_goes_into_a_standard_file_and_back(folder, tmp_path):
    x, _ = recorded(folder)
    module = caffe.load_caffe_model(folder / "deploy.prototxt", folder / "model.caffemodel")
    files = tmp_path / "again.prototxt", tmp_path / "again.caffemodel"
    caffe.save_caffe(module, *files, inputs=x)
    again = caffe.load_caffe_model(*files)
    assert np.array_equal(ours(again, x)[0], ours(module, x)[0])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_opencv_runs_a_bigdl_model_that_we_wrote(folder, tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        pytest.skip("OpenCV 5 has no reader of Caffe's files")
    x, _ = recorded(folder)
    module = caffe.load_caffe_model(folder / "deploy.prototxt", folder / "model.caffemodel")
    files = tmp_path / "again.prototxt", tmp_path / "again.caffemodel"
    caffe.save_caffe(module, *files, inputs=x)
    net = cv2.dnn.readNetFromCaffe(*map(str, files))
    net.setInput(x)
    np.testing.assert_allclose(net.forward(), ours(module, x)[0], rtol=1e-5, atol=1e-5)
