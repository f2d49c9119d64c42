"""Each room imports only from rooms above it, and the program and the manifold never meet."""

import ast
from pathlib import Path

import pytest

import pyrogeo

ROOMS = [
    {"errors"},
    {"_random", "_files"},
    {"datasets"},
    {"moves"},
    {"vae", "geometry"},
    {"distributions"},
    {"sampling"},
    {"recipes"},
    {"plots", "run", "methods", "interpolation"},
    {"figures", "report"},
    {"demo"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(ROOMS) for name in names}
PACKAGE = Path(pyrogeo.__file__).parent
FILES = [
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem != "__init__"
]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = node.module.split(".")
            if module[0] == "pyrogeo":
                names |= {module[1]} if len(module) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("pyrogeo.")}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_from_rooms_above(path):
    room = room_of(path)
    for other in imported_rooms(path) - {room}:
        assert LEVEL[other] < LEVEL[room], f"{room} imports {other}"


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("geometry", {"pyro"}),
        ("moves", {"pyro", "numpy", "scipy"}),
        ("distributions", {"arviz"}),
        ("vae", {"arviz", "sklearn"}),
    ],
)
def test_rooms_do_not_know_libraries_that_are_none_of_their_business(room, forbidden):
    for path in FILES:
        if room_of(path) == room:
            for node in ast.walk(ast.parse(path.read_text())):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                assert not {name.split(".")[0] for name in names} & forbidden, path
