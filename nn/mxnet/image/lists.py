"""Lists of pictures, as MXNet's im2rec writes them: lines "number, labels, path", with tabs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tapegrad.nn.mxnet.errors import MXNetError

if TYPE_CHECKING:
    from tapegrad.nn.mxnet.types import PathLike


__all__ = ["read_list"]


def read_list(path: PathLike) -> dict[int, tuple[np.ndarray, str]]:
    """number -> (labels, path).  Raises MXNetError for another line, OSError."""
    found = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        words = line.strip().split("\t")
        try:
            if line.strip():
                found[int(words[0])] = (np.array(words[1:-1], np.float32), words[-1])
        except ValueError as error:
            raise MXNetError(
                f"{path}, line {number}: number, labels, path, not {line!r}"
            ) from error
    return found
