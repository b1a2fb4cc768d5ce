"""Operations raise ShapeError where shapes do not fit, and modules put their path before it."""

import numpy as np
import pytest

from tapegrad import nn
from tapegrad.autograd import ops
from tapegrad.errors import ShapeError

X, W = np.ones((1, 2, 3, 4, 5)), np.ones((2, 2, 2, 2, 2))


@pytest.mark.parametrize(
    "call",
    [
        lambda: ops.max_pool2d(X[:, :, 0], 6),
        lambda: ops.max_pool2d(X[:, :, 0], 2, padding=2),
        lambda: ops.conv2d(X[:, :, 0], W[:, :1, 0]),
        lambda: ops.conv3d(X, W[:, :1]),
        lambda: ops.check_positions(np.full(2, 4), (2,), 4),
        lambda: ops.split(np.ones(5), 2),
        lambda: ops.stack([np.ones(2), np.ones(3)]),
        lambda: ops.einsum("ij,jk", np.ones((2, 3)), np.ones((4, 2))),
    ],
)
def test_shapes_that_do_not_fit_an_operation_raise_shape_error_and_no_path(call):
    with pytest.raises(ShapeError) as caught:
        call()
    assert caught.value.path == ""
    assert str(caught.value) == caught.value.text


def test_a_module_puts_its_path_before_the_shape_error_of_an_operation():
    model = nn.Sequential(nn.Identity(), nn.SpatialMaxPooling(6, 6))
    with pytest.raises(
        ShapeError, match=r"^Sequential\[1\]\.SpatialMaxPooling: max_pool2d: the win"
    ):
        model.forward(X[:, :, 0])
