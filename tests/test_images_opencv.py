"""Images against OpenCV, whose formulas these are: sizes, colours, decoding."""

import io

import numpy as np
import pytest
from PIL import Image

from tapegrad.nn.data import Brightness, BytesToMat, Contrast, Hue, ImageFeature, Saturation
from tapegrad.nn.data.images.color import bgr_to_hsv, hsv_to_bgr
from tapegrad.nn.data.images.resample import AREA, CUBIC, LANCZOS4, LINEAR, NEAREST, resample

pytestmark = pytest.mark.extra

MODES = [NEAREST, LINEAR, CUBIC, AREA, LANCZOS4]
SIZES = [(7, 9), (20, 11), (40, 60), (10, 30), (27, 81), (33, 1)]


@pytest.fixture(scope="module")
def cv2():
    import cv2

    return cv2


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
def test_resized_bytes_and_floats(cv2, pixels, mode, size):
    height, width = size
    theirs = cv2.resize(pixels, (width, height), interpolation=mode).astype(int)
    ours = resample(pixels, height, width, mode).astype(int)
    # OpenCV's weights for bytes have 11 bits
    assert np.abs(ours - theirs).max() <= (0 if mode == NEAREST else 1)
    floats = pixels.astype(np.float32)
    theirs = cv2.resize(floats, (width, height), interpolation=mode)
    # … and those of Lanczos for floats are single precision sums with cancellation
    assert np.abs(resample(floats, height, width, mode) - theirs).max() < 2e-3


def test_hue_saturation_value(cv2):
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), axis=-1).reshape(52, -1, 3)
    mat = np.ascontiguousarray(grid.astype(np.uint8))
    theirs = cv2.cvtColor(mat, cv2.COLOR_BGR2HSV).astype(int)
    ours = bgr_to_hsv(mat).astype(int)
    around = np.abs(ours - theirs)[..., 0]
    assert np.minimum(around, 180 - around).max() <= 1
    assert np.abs(ours - theirs)[..., 1:].max() <= 1
    back = cv2.cvtColor(theirs.astype(np.uint8), cv2.COLOR_HSV2BGR).astype(int)
    assert np.abs(hsv_to_bgr(theirs.astype(np.uint8)).astype(int) - back).max() <= 1
    floats = mat.astype(np.float32)
    theirs = cv2.cvtColor(floats, cv2.COLOR_BGR2HSV)
    assert np.abs(bgr_to_hsv(floats) - theirs).max() < 1e-3
    back = cv2.cvtColor(theirs, cv2.COLOR_HSV2BGR)
    assert np.abs(hsv_to_bgr(theirs) - back).max() < 1e-3


@pytest.mark.parametrize("delta", [-40.0, -9.25, 0.0, 17.0, 60.0])
def test_colours(cv2, pixels, delta):
    """As BigDL calls OpenCV: convertTo with a factor and a summand, on one channel of HSV."""

    def changed(step, mat=pixels):
        return step(ImageFeature(mat))["mat"].astype(int)

    def converted(values, alpha, beta):
        return np.clip(np.rint(values * alpha + beta), 0, 255).astype(np.uint8)

    def through_hsv(channel, alpha, beta):
        hsv = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)
        hsv[..., channel] = converted(hsv[..., channel].astype(float), alpha, beta)
        if channel == 0:
            hsv[..., 0] %= 180  # newer OpenCVs take hues beyond 180 as they are
        return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR).astype(int)

    bright = cv2.add(pixels.astype(float), np.full(4, delta))
    assert np.array_equal(changed(Brightness(delta, delta)), converted(bright, 1, 0))
    factor = 1 + delta / 100
    assert np.array_equal(changed(Contrast(factor, factor)), converted(pixels * factor, 1, 0))
    # hues are rounded to two degrees, and one more or less there is 255 / 30 in a colour
    assert np.abs(changed(Hue(delta, delta)) - through_hsv(0, 1, delta)).max() <= 9
    assert np.abs(changed(Hue(delta, delta)) - through_hsv(0, 1, delta)).mean() < 0.2
    saturated = changed(Saturation(factor, factor))
    assert np.abs(saturated - through_hsv(1, factor, 0)).max() <= 9
    assert np.abs(saturated - through_hsv(1, factor, 0)).mean() < 0.2


def test_decoding(cv2, pixels):
    large = np.kron(pixels, np.ones((4, 4, 1), np.uint8))
    for kind in ("PNG", "BMP", "JPEG"):
        stream = io.BytesIO()
        Image.fromarray(large).save(stream, kind, quality=95)
        theirs = cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR)
        ours = BytesToMat()(ImageFeature(stream.getvalue()))["mat"]
        assert np.abs(ours.astype(int) - theirs).max() <= (2 if kind == "JPEG" else 0)
