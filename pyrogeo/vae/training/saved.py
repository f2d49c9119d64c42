"""What a checkpoint must hold: in itself, and to fit the parts that go on from it."""

from collections.abc import Mapping, Sequence
from types import GenericAlias
from typing import Any, NamedTuple, get_type_hints

import msgspec
import torch
from torch import Tensor

__all__ = ["check_content", "check_part", "check_weights"]

#: what optimisers keep of each parameter, in its shape
_LIKE_PARAMETER = frozenset(
    {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg", "grad_avg",
     "acc_delta", "sum", "prev"}
)  # fmt: skip


def check_content(saved: Any, settings: type[NamedTuple], row: type[NamedTuple]) -> None:
    """Settings, rows and the names of the rest.

    Args:
        saved: the content of a file.
        settings, row: named tuples, whose fields and types those in the file must have.

    Raises:
        ValueError: for anything else.
    """
    schemas = [
        msgspec.defstruct(
            kind.__name__, list(get_type_hints(kind).items()), forbid_unknown_fields=True
        )
        for kind in (settings, row)
    ]
    rows = GenericAlias(list, schemas[1])
    of_state: dict[str, Any] = {"rows": rows, "best": dict[str, Any], "best_epoch": int}
    state = msgspec.defstruct("State", list(of_state.items()), forbid_unknown_fields=True)
    parts = dict[str, dict[Any, Any]]
    content: list[Any] = [("settings", schemas[0]), ("state", state), ("parts", parts)]
    # earlier versions kept less
    content += [("asked", dict[str, Any] | None, None), ("start", dict[str, str] | None, None)]
    schema = msgspec.defstruct("Checkpoint", content, forbid_unknown_fields=True)
    found: Any = msgspec.convert(saved, schema)
    if not 0 <= found.state.best_epoch <= len(found.state.rows):
        raise ValueError("expected the best epoch among those that there are")
    if found.asked is not None and not found.asked.keys() >= {"vae", "scheduler"}:
        raise ValueError("expected what was asked for of VAE and scheduler")


def check_weights(ours: Mapping[str, Tensor], theirs: Any) -> None:
    """Refuses weights of other names, shapes or dtypes.

    Raises:
        ValueError: that names one.
    """
    _check_alike("the weights", dict(ours), theirs)


def check_part(name: str, part: Any, theirs: Any) -> None:
    """Refuses the state of another part, before the part takes it.

    Args:
        name: of the part.
        part: with a `state_dict`.
        theirs: what is to be loaded into it.

    Raises:
        ValueError: that names what differs.
    """
    ours = part.state_dict()
    if name == "optimizer":
        theirs_of_each = theirs.get("state") if isinstance(theirs, dict) else None
        groups = getattr(part, "param_groups", [])
        parameters = [parameter for group in groups for parameter in group["params"]]
        _check_optimizer(theirs_of_each, [tuple(p.shape) for p in parameters])
        if "state" in ours and "state" in theirs:
            ours, theirs = {**ours, "state": None}, {**theirs, "state": None}
    _check_alike(name, ours, theirs)


def _check_optimizer(state: Any, shapes: Sequence[tuple[int, ...]]) -> None:
    if not isinstance(state, dict) or not state.keys() <= set(range(len(shapes))):
        raise ValueError("optimizer: expected a state of each parameter")
    for index, kept in state.items():
        if not isinstance(kept, dict):
            raise ValueError(f"optimizer: parameter {index} has no state")
        for name in _LIKE_PARAMETER & kept.keys():
            value = kept[name]
            if value is not None and not (
                torch.is_tensor(value) and tuple(value.shape) == shapes[index]
            ):
                raise ValueError(f"optimizer: {name} of parameter {index} is not of its shape")
        step = kept.get("step", 0)
        if not (torch.is_tensor(step) and step.dim() == 0) and type(step) not in (int, float):
            raise ValueError(f"optimizer: the step of parameter {index} is no number")


def _check_alike(where: str, ours: Any, theirs: Any) -> None:
    """The same names, kinds and shapes throughout; what is empty or None in a part that is new is not known."""
    if ours is None or (isinstance(ours, dict | list | tuple) and not ours):
        return
    if torch.is_tensor(ours):
        if not torch.is_tensor(theirs) or ours.shape != theirs.shape:
            got = tuple(theirs.shape) if torch.is_tensor(theirs) else type(theirs).__name__
            raise ValueError(f"{where}: expected shape {tuple(ours.shape)}, got {got}")
        if ours.is_floating_point() != theirs.is_floating_point():
            raise ValueError(f"{where}: expected {ours.dtype}, got {theirs.dtype}")
    elif isinstance(ours, dict):
        if not isinstance(theirs, dict) or ours.keys() != theirs.keys():
            raise ValueError(f"{where}: expected {_names(ours)}, got {_names(theirs)}")
        for name, inner in ours.items():
            _check_alike(f"{where}, {name}", inner, theirs[name])
    elif isinstance(ours, list | tuple):
        if type(theirs) is not type(ours) or len(ours) != len(theirs):
            raise ValueError(f"{where}: expected {len(ours)} entries")
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            _check_alike(f"{where}, {number}", one, other)
    elif isinstance(ours, bool | str):
        if theirs != ours or type(theirs) is not type(ours):
            raise ValueError(f"{where}: expected {ours!r}, got {theirs!r}")
    elif isinstance(ours, int | float) and type(theirs) not in (int, float):
        raise ValueError(f"{where}: expected a number, got {theirs!r}")


def _names(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(map(str, value)) or "nothing"
    return type(value).__name__
