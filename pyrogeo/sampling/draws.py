"""Chains as ArviZ data, whichever ArviZ is installed.

Imports NumPy and ArviZ only. ArviZ 0.2x keeps an `InferenceData`, ArviZ 1.x an `xarray.DataTree`;
both have `.posterior` and `.sample_stats`.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

with warnings.catch_warnings():  # 0.23 announces 1.0 at import, to everybody, once a day
    warnings.filterwarnings("ignore", "\nArviZ is undergoing", FutureWarning)
    import arviz

# Which `verdict` takes from here, imported without its warning; 0.23 and 1.x take other arguments.
az: Any = arviz

__all__ = ["group_arrays", "read_draws", "to_arviz", "write_draws"]

_ARVIZ_1 = int(az.__version__.split(".")[0]) >= 1


def to_arviz(
    posterior: Mapping[str, np.ndarray],
    sample_stats: Mapping[str, np.ndarray],
    attrs: Mapping[str, Any] | None = None,
) -> Any:
    """ArviZ data from arrays of shape `(chain, draw, *event)`.

    Args:
        posterior: variables; `z` of shape `(chain, draw, d)` gets the dimension `z_dim`.
        sample_stats: statistics of each draw, shape `(chain, draw)`, under ArviZ's names.
        attrs: of both groups. NetCDF knows no booleans: they become 0 or 1.

    Returns:
        `arviz.InferenceData` (0.2x) or `xarray.DataTree` (1.x).

    >>> data = to_arviz({"z": np.zeros((2, 5, 3))}, {"lp": np.zeros((2, 5))})
    >>> dict(data.posterior.sizes)
    {'chain': 2, 'draw': 5, 'z_dim': 3}
    """
    groups = {"posterior": dict(posterior)}
    groups |= {"sample_stats": dict(sample_stats)} if sample_stats else {}
    dims = {
        name: [
            f"{name}_dim" if value.ndim == 3 else f"{name}_dim_{i}" for i in range(value.ndim - 2)
        ]
        for name, value in groups["posterior"].items()
    }
    with warnings.catch_warnings():  # many short chains are as good as a few long ones
        warnings.filterwarnings("ignore", "More chains|Found chain dimension", UserWarning)
        data = az.from_dict(groups, dims=dims) if _ARVIZ_1 else az.from_dict(**groups, dims=dims)
    attrs = {k: int(v) if isinstance(v, bool) else v for k, v in (attrs or {}).items()}
    for group in groups:
        data[group].attrs.update(attrs)
    return data


def write_draws(path: str | os.PathLike[str], data: Any) -> None:
    """Writes ArviZ data to a NetCDF file, whole or not at all."""
    temporary = Path(path).with_name(f".{Path(path).name}.part")
    data.to_netcdf(temporary, engine="h5netcdf")
    os.replace(temporary, path)


def read_draws(path: str | os.PathLike[str]) -> Any:
    """ArviZ data from a NetCDF file, in memory.

    Raises:
        ValueError: for a file that is missing or not NetCDF.
    """
    try:
        if _ARVIZ_1:
            import xarray

            with xarray.open_datatree(path, engine="h5netcdf") as tree:
                return tree.load()
        with az.rc_context({"data.load": "eager"}):
            return az.from_netcdf(str(path), engine="h5netcdf")
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a whole file of draws: {error}") from error


def group_arrays(data: Any, group: str) -> dict[str, np.ndarray]:
    """The variables of a group as arrays of shape `(chain, draw, *event)`; none if it is missing."""
    try:
        dataset = data[group]
    except (KeyError, TypeError, IndexError):
        return {}
    return {
        str(name): dataset[name].transpose("chain", "draw", ...).to_numpy()
        for name in dataset.data_vars
        if {"chain", "draw"} <= set(dataset[name].dims)
    }
