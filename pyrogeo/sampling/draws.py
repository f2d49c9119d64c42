"""Chains as ArviZ data, whichever ArviZ is installed.

Imports NumPy and ArviZ only. ArviZ 0.2x keeps an `InferenceData`, ArviZ 1.x an `xarray.DataTree`;
both have `.posterior` and `.sample_stats`.
"""

import io
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyrogeo._files import write_bytes
from pyrogeo._words import printable
from pyrogeo.errors import BrokenFileError
from pyrogeo.sampling.netcdf import check_facts_of_chains, check_numbers, check_structure

with warnings.catch_warnings():  # 0.23 announces 1.0 at import, to everybody, once a day
    warnings.filterwarnings("ignore", "\nArviZ is undergoing", FutureWarning)
    import arviz

# Which `verdict` takes from here, imported without its warning; 0.23 and 1.x take other arguments.
az: Any = arviz

__all__ = [
    "facts_of_chains",
    "group_arrays",
    "is_incomplete",
    "latent_points",
    "read_draws",
    "to_arviz",
    "write_draws",
]

_ARVIZ_1 = int(az.__version__.split(".")[0]) >= 1


def to_arviz(
    posterior: Mapping[str, np.ndarray],
    sample_stats: Mapping[str, np.ndarray],
    attrs: Mapping[str, Any] | None = None,
    of_chains: Mapping[str, Any] | None = None,
) -> Any:
    """ArviZ data from arrays of shape `(chain, draw, *event)`.

    Args:
        posterior: variables; `z` of shape `(chain, draw, d)` gets the dimension `z_dim`.
        sample_stats: statistics of each draw, shape `(chain, draw)`, under ArviZ's names.
        attrs: of both groups. NetCDF knows no booleans: they become 0 or 1.
        of_chains: facts of a chain or of the run that it comes from, one for each chain, or one for all. They
            become variables with the dimension `chain` alone, beside the statistics, so that they stay with
            their chains in `sel` and `arviz.concat`. Without statistics they are left out.

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
    if "sample_stats" in groups:
        chains = data["posterior"].sizes["chain"]
        for name, fact in (of_chains or {}).items():
            data["sample_stats"][name] = ("chain", np.resize(np.asarray(fact), chains))
    return data


def write_draws(path: str | os.PathLike[str], data: Any) -> None:
    """Writes ArviZ data to a NetCDF file, whole or not at all.

    Raises:
        OSError: where it cannot be written; what was there stays.
    """
    write_bytes(path, _netcdf(data))


def _netcdf(data: Any) -> memoryview:
    """The content of the file, made in memory: HDF5 crashes where it writes to a disk that fills."""
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    buffer = io.BytesIO()
    with h5netcdf.File(buffer, "w") as file:
        file.attrs.update(data.attrs)
        for name in data.children if _ARVIZ_1 else data.groups():
            group = data[name].to_dataset() if _ARVIZ_1 else data[name]
            numbers = [k for k, values in group.variables.items() if values.dtype.kind in "biuf"]
            store = H5NetCDFStore(file.create_group(name))
            group.dump_to_store(store, encoding={k: {"zlib": True} for k in numbers})
    return buffer.getbuffer()


def read_draws(path: str | os.PathLike[str]) -> Any:
    """ArviZ data from a NetCDF file, in memory.

    Raises:
        BrokenFileError: for a file that is missing or not NetCDF, that declares more than it holds, or whose
            draws are not finite numbers.
    """
    try:
        check_structure(Path(path))
        data = _opened(path)
        groups = {group: group_arrays(data, group) for group in ("posterior", "sample_stats")}
        check_numbers(groups, data["posterior"].attrs)
        check_facts_of_chains(facts_of_chains(data))
    except Exception as error:  # what the layers over HDF5 raise is of any kind
        raise BrokenFileError(
            f"{path} is not a whole file of draws: {printable(error, 200)}"
        ) from error
    return data


def _opened(path: str | os.PathLike[str]) -> Any:
    if _ARVIZ_1:
        import xarray

        with xarray.open_datatree(path, engine="h5netcdf") as tree:
            return tree.load()
    with az.rc_context({"data.load": "eager"}):
        return az.from_netcdf(str(path), engine="h5netcdf")


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


def facts_of_chains(data: Any) -> dict[str, np.ndarray]:
    """What the statistics say of each chain, arrays of shape `(chain,)`: see `to_arviz(of_chains=...)`.

    >>> data = to_arviz({"z": np.zeros((2, 5, 3))}, {"lp": np.zeros((2, 5))}, of_chains={"seed": 3})
    >>> facts_of_chains(data)["seed"]
    array([3, 3])
    """
    try:
        dataset = data["sample_stats"]
    except (KeyError, TypeError, IndexError):
        return {}
    return {
        str(name): dataset[name].to_numpy()
        for name in dataset.data_vars
        if dataset[name].dims == ("chain",)
    }


def is_incomplete(data: Any) -> bool:
    """Whether any of the chains was interrupted."""
    facts = facts_of_chains(data)
    if "incomplete" in facts:
        return bool(facts["incomplete"].any())
    return bool(data["posterior"].attrs.get("incomplete"))


def latent_points(data: Any, dimension: int | None = None, name: str | None = None) -> np.ndarray:
    """The latent points among the variables of draws, which need not be called `z`.

    Args:
        data: ArviZ data with a posterior group.
        dimension: d, or None for any.
        name: of the variable; by default `z`, or else the only one of shape `(chain, draw, d)`.

    Returns:
        shape `(chain, draw, d)`.

    Raises:
        ValueError: for a name that is not there, for points of another dimension, and where there is no `z` and
            none or several could be meant.

    >>> latent_points(to_arviz({"latent": np.zeros((2, 5, 3)), "scale": np.zeros((2, 5))}, {})).shape
    (2, 5, 3)
    """
    variables = group_arrays(data, "posterior")
    fitting = {key: x for key, x in variables.items() if _is_latent(x, dimension)}
    if name is None:
        name = "z" if "z" in variables or len(fitting) != 1 else next(iter(fitting))
    if name not in fitting:
        expected = f"(chain, draw, {'d' if dimension is None else dimension})"
        got = ", ".join(f"{key} of {x.shape}" for key, x in variables.items()) or "no variables"
        raise ValueError(
            f"expected latent points {name} of shape {expected}, got {got}; say which with variable=..."
        )
    points = fitting[name]
    return points[..., None] if points.ndim == 2 else points


def _is_latent(x: np.ndarray, dimension: int | None) -> bool:
    if x.dtype.kind not in "iuf":
        return False
    if x.ndim == 2:
        return dimension == 1
    return x.ndim == 3 and dimension in (None, x.shape[2])
