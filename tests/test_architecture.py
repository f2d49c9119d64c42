"""Which room may know which, that no files import each other in a circle, and that rooms stay small.

A room is a folder of the package, or a file beside them. Each may import from the rooms that are named
for it here, and from nothing else of ours.
"""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import pyrogeo

PACKAGE = Path(pyrogeo.__file__).parent
#: rooms that need nothing of ours but each other, in this order
GROUND = [
    "errors",
    "_words",
    "_checks",
    "_numbers",
    "_asked",
    "_random",
    "_files",
    "_tensors",
    "_threads",
    "_tails",
    "moves",
    "annealing",
]
ARROWS = {
    "datasets": {*GROUND},
    "vae": {*GROUND, "datasets"},
    "geometry": {*GROUND},
    "distributions": {*GROUND, "geometry"},
    "latents": {*GROUND, "vae", "distributions"},
    "recipes": {*GROUND, "vae", "geometry"},
    "sampling": {*GROUND, "geometry", "distributions", "latents"},
    "verdict": {*GROUND, "geometry", "distributions", "sampling"},
    "interpolation": {*GROUND, "vae", "geometry"},
    "plots": {*GROUND, "vae", "geometry", "distributions", "sampling", "verdict"},
    "run": {
        *GROUND, "datasets", "vae", "geometry", "distributions", "latents", "recipes", "sampling",
        "verdict",
    },
}  # fmt: skip
ARROWS |= {room: {*GROUND[:n]} for n, room in enumerate(GROUND)}
ARROWS["reports"] = {*ARROWS["run"], "run", "plots", "interpolation"}
ARROWS["jobs"] = {*ARROWS["reports"], "reports"}
ARROWS["cli"] = {*ARROWS["jobs"], "jobs"}
ARROWS["__main__"] = {"cli"}

#: libraries that a room knows nothing of
STRANGERS = {
    "geometry": {"pyro", "arviz"},
    "moves": {"pyro", "numpy", "scipy"},
    "annealing": {"pyro", "numpy", "scipy"},
    "distributions": {"arviz"},
    "vae": {"arviz", "sklearn"},
    "cli": {"torch", "pyro", "arviz", "numpy"},
}
MOST_LINES = 350
MOST_LINES_OF_A_FUNCTION = 40  # without its docstring


def is_face(path: Path) -> bool:
    """An `__init__.py` that only hands names on: its imports are where names are found, not arrows."""
    return path.name == "__init__.py"


FILES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or not is_face(path)
)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if is_face(path) else parts)


BY_MODULE = {module_of(path): path for path in PACKAGE.rglob("*.py")}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imported(path: Path) -> set[tuple[str, str]]:
    """(module, name) of everything of ours that a file imports, also within functions."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyrogeo"):
            found |= {(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {(a.name, "") for a in node.names if a.name.startswith("pyrogeo.")}
    return found


def files_behind(module: str, name: str) -> set[Path]:
    """The file that an import takes a name from, looked up through the faces between."""
    if f"{module}.{name}" in BY_MODULE:
        return {BY_MODULE[f"{module}.{name}"]} - {p for p in BY_MODULE.values() if is_face(p)}
    path = BY_MODULE[module]
    if not is_face(path):
        return {path}
    stub = path.with_suffix(".pyi")
    tree = ast.parse(stub.read_text()) if stub.exists() else tree_of(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and name in {a.asname or a.name for a in node.names}:
            source = (
                f"{module}.{node.module}" if node.level and node.module else node.module or module
            )
            original = next(a.name for a in node.names if name == (a.asname or a.name))
            return files_behind(source, original) if (source, original) != (module, name) else set()
    return {path}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_from_rooms_that_they_may_know(path):
    room = room_of(path)
    others = {
        (module.split(".")[1] if "." in module else name).removesuffix(".py")
        for module, name in imported(path)
    }
    unknown = others - {room} - ARROWS[room]
    assert not unknown, f"{room} imports {sorted(unknown)}"


def test_every_room_says_what_belongs_in_it():
    rooms = {room_of(path) for path in FILES}
    assert rooms <= ARROWS.keys()
    for face in PACKAGE.rglob("__init__.py"):
        assert ast.get_docstring(tree_of(face)), face


def test_no_files_import_each_other_in_a_circle():
    arrows = {
        path: {file for pair in imported(path) for file in files_behind(*pair)} - {path}
        for path in FILES
    }
    done: set[Path] = set()

    def visit(path: Path, above: tuple[Path, ...]) -> None:
        if path in above:
            circle = [str(p.relative_to(PACKAGE)) for p in (*above[above.index(path) :], path)]
            raise AssertionError(" -> ".join(circle))
        if path not in done:
            for other in sorted(arrows.get(path, ())):
                visit(other, (*above, path))
            done.add(path)

    for path in FILES:
        visit(path, ())


@pytest.mark.parametrize("room", STRANGERS)
def test_rooms_do_not_know_libraries_that_are_none_of_their_business(room):
    for path in FILES:
        if room_of(path) == room:
            for node in ast.walk(tree_of(path)):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                assert not {name.split(".")[0] for name in names} & STRANGERS[room], path


def test_files_are_short():
    everything = [
        p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".pyi", ".html", ".css", ".js")
    ]
    everything += [*PACKAGE.parent.glob("docs/*.py"), *PACKAGE.parent.glob("benchmarks/*.py")]
    long = {p.name: n for p in everything if (n := len(p.read_text().splitlines())) > MOST_LINES}
    assert not long


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_are_short(path):
    long = {}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1 - (said.count("\n") + 1 if said else 0)
            if lines > MOST_LINES_OF_A_FUNCTION:
                long[node.name] = lines
    assert not long


def loaded_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter has loaded after some code."""
    code += "\nimport sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")[-2].split())


HEAVY = {"torch", "pyro", "arviz", "matplotlib", "sklearn", "scipy", "pandas", "numpy", "xarray"}


def test_importing_loads_only_what_is_used():
    assert (
        not loaded_by("import pyrogeo; pyrogeo.__version__; pyrogeo.methods['exact'].summary")
        & HEAVY
    )
    used = loaded_by("import pyrogeo as pg; pg.VAE, pg.networks.mlp(2, 3)")
    assert "torch" in used
    assert not used & {"arviz", "matplotlib", "sklearn"}


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["--help"], ["fit", "--help"], ["sample", "--help"], ["sample", "nowhere"],
     ["info", "nowhere"], ["report", "nowhere"], ["diagnose", "nowhere"]],
)  # fmt: skip
def test_a_command_that_needs_nothing_heavy_loads_nothing_heavy(arguments):
    code = f"""
import pyrogeo.cli
try:
    pyrogeo.cli.app({arguments!r})
except SystemExit:
    pass
"""
    assert not loaded_by(code) & HEAVY


def test_names_of_the_top_level():
    for name in (
        "run",
        "interpolation",
        "geometry",
        "methods",
        "latents",
        "verdict",
        "distributions",
        "__version__",
    ):
        assert getattr(pyrogeo, name)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = pyrogeo.nonsense
    done = subprocess.run(
        [sys.executable, "-m", "pyrogeo", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"pyrogeo {pyrogeo.__version__}\n"


def test_ignored_types_are_few_and_say_why():
    said = [
        (path.name, line)
        for path in PACKAGE.rglob("*.py*")
        if path.suffix in (".py", ".pyi")
        for line in path.read_text().splitlines()
        if "type: ignore" in line
    ]
    assert len(said) <= 25
    for file, line in said:
        assert re.search(r"# type: ignore\[[\w-]+\]  # \S", line), f"{file}: no reason in {line!r}"
