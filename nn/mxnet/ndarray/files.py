"""save, load: lists and dicts of arrays in MXNet's .params format, which formats/mxnet writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tapegrad.nn.core.services import service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tapegrad.nn.mxnet.ndarray.ndarray import NDArray
    from tapegrad.nn.mxnet.types import PathLike

__all__ = ["load", "load_frombuffer", "save", "split_params"]


def save(fname: PathLike, data: NDArray | Sequence[NDArray] | Mapping[str, NDArray]) -> None:
    """Write an NDArray, a list of them, or a dict of them by name.

    Raises TypeError for other data, OSError.
    """
    service("mxnet.save_arrays")(fname, data)


def load(fname: PathLike) -> Any:
    """The arrays of a file: a dict by name, or a list where they have none.

    Raises MXNetError for a file that holds none, OSError.
    """
    return service("mxnet.load_arrays")(fname)


def load_frombuffer(buf: bytes) -> Any:
    """The arrays of a file's bytes.  Raises MXNetError as `load`."""
    return service("mxnet.load_arrays_from_bytes")(buf)


def split_params(found: object, place: object) -> tuple[dict[str, NDArray], dict[str, NDArray]]:
    """(parameters, states) of what a .params file holds.

    Raises ValueError for a name that begins with neither arg: nor aux:.
    """
    arg_params, aux_params = {}, {}
    for key, value in found.items() if isinstance(found, dict) else ():
        kind, _, name = key.partition(":")
        if kind == "arg":
            arg_params[name] = value
        elif kind == "aux":
            aux_params[name] = value
        else:
            raise ValueError(f"Invalid param file {place}")
    return arg_params, aux_params
