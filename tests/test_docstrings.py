"""What every docstring of the library says, so that the reference made of them holds what it should.

One sentence first, an example that runs (`pytest --doctest-modules pyrogeo` runs it), every parameter
by name, every error that is raised. Whether it is true and reads well, a reader has to judge.
"""

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
import types
from functools import cache

import pytest

import pyrogeo

NOT_WALKED = {"cli"}  # Typer makes its help of the docstrings

#: What has no example of its own, and why.
WITHOUT_EXAMPLE = {
    "jobs.demo.run": "trains a VAE; tests/test_demo.py runs it",
    "reports.pictures.draw": "needs a run folder with a trained VAE; tests/test_cli.py draws one",
    "reports.report": "the same; tests/test_report.py writes one",
}
#: Results, which the example of the function that returns them shows.
RETURNED_BY = {
    "annealing.Population": "annealing.anneal",
    "latents.AutoregressiveFlow": "latents.fit_flow",
    "distributions.BandwidthChoice": "distributions.choose_bandwidth",
    "latents.TwoStage": "latents.fit_two_stage",
    "geometry.DistanceMap": "geometry.distance_map",
    "geometry.Geodesic": "geometry.geodesic",
    "interpolation.Interpolation": "interpolation.interpolate",
    "moves.Transition": "moves.hmc",
    "verdict.Diagnosis": "verdict.diagnose",
    "verdict.RankBand": "verdict.rank_band",
    "verdict.RankCheck": "verdict.check_ranks",
    "vae.History": "vae.fit",
}

#: Parameters that need no mention, and why.
UNMENTIONED = {
    "validate_args": "torch.distributions' own, the same in every distribution",
}
#: Said once for all recipes, in the package's docstring.
OF_EVERY_RECIPE = {"event_shape", "latent_dim", "parts"}


def modules() -> list[types.ModuleType]:
    """The package, its public rooms, and the modules that a room exports."""
    rooms = [m.name for m in pkgutil.iter_modules(pyrogeo.__path__)]
    rooms = [name for name in rooms if not name.startswith("_") and name not in NOT_WALKED]
    found = [pyrogeo] + [importlib.import_module(f"pyrogeo.{name}") for name in rooms]
    for module in found:
        exported = [getattr(module, name) for name in module.__all__]
        found += [e for e in exported if isinstance(e, types.ModuleType) and e not in found]
    return found


def documented(thing) -> bool:
    return inspect.isclass(thing) or inspect.isfunction(thing)


def is_protocol(thing) -> bool:
    """Its `__init__` is Python's own, and refuses."""
    return getattr(thing, "_is_protocol", False)


def public_names() -> dict[str, object]:
    """Functions and classes by the longest way to them: `vae.guides.Flow`, not `guides.Flow`."""
    names: dict[int, tuple[str, object]] = {}
    for module in modules():
        where = module.__name__.removeprefix("pyrogeo").removeprefix(".")
        for name in module.__all__:
            thing = getattr(module, name)
            if documented(thing):
                names[id(thing)] = f"{where}.{name}".removeprefix("."), thing
    return dict(sorted(names.values()))


def methods() -> dict[str, tuple[type, object]]:
    """Methods and properties of public classes, once for the class that defines them."""
    classes = [thing for thing in PUBLIC.values() if inspect.isclass(thing)]
    bases = [base for thing in classes for base in inspect.getmro(thing)]
    found = {}
    for base in dict.fromkeys(base for base in bases if base.__module__.startswith("pyrogeo.")):
        for name, member in vars(base).items():
            member = getattr(member, "__func__", getattr(member, "fget", member))
            if not name.startswith("_") and inspect.isfunction(member):
                where = base.__module__.removeprefix("pyrogeo.")
                found[f"{where}.{base.__name__}.{name}"] = base, member
    return dict(sorted(found.items()))


PUBLIC = public_names()
METHODS = methods()


def documentation(thing) -> str:
    """The docstring, a class's together with that of its `__init__`."""
    said = inspect.cleandoc(thing.__doc__ or "")
    if inspect.isclass(thing) and "__init__" in vars(thing):
        said += "\n\n" + inspect.cleandoc(thing.__init__.__doc__ or "")
    return said


def check_summary(said: str) -> None:
    first = said.splitlines()[0]
    assert first.endswith("."), f"the first line is no sentence: {first!r}"
    assert not re.search(r"(?<!Eq)\. [A-Z]", first), f"the first line is two sentences: {first!r}"
    # What Sphinx would take for something else: a list that begins with "G.", a substitution |J|.
    prose = re.sub(r"`[^`]*`|>>> .*", "", said)
    found = re.findall(r"(?m)(?:^|: )([A-Za-z]\.)$|(?:^|[\s(])(\|[^|\s][^|\n]*\|)", prose)
    assert not found, f"reStructuredText takes this for markup: {found}"


@cache
def raised(function) -> set[str]:
    """Names of the errors that a function's own body raises, functions within it left out."""
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(function)))
    except OSError:  # made by dataclass
        return set()
    tree = ast.parse(source).body[0]
    names, nodes = set(), list(tree.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Raise) and node.exc is not None:
            error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            names.add(ast.unparse(error))
        if not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            nodes += ast.iter_child_nodes(node)
    return names - {"NotImplementedError"}  # of a method that a subclass fills in


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_modules_say_what_they_are(module):
    check_summary(inspect.cleandoc(module.__doc__))


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_begins_with_one_sentence(name):
    assert PUBLIC[name].__doc__, "no docstring"
    check_summary(documentation(PUBLIC[name]))


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_has_an_example(name):
    thing, said = PUBLIC[name], documentation(PUBLIC[name])
    if name in RETURNED_BY:
        maker = RETURNED_BY[name]
        assert f"`{maker.rpartition('.')[2]}`" in said, "does not say what returns it"
        said = documentation(PUBLIC[maker])
    if name in WITHOUT_EXAMPLE:
        assert ">>> " not in said, "is no exception any more"
        return
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return  # to catch or to filter; PyrogeoWarning shows how
    assert ">>> " in said


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_names_every_parameter(name):
    thing = PUBLIC[name]
    if not inspect.isclass(thing):
        wanted = set(inspect.signature(thing).parameters)
    elif "__init__" in vars(thing) and not is_protocol(thing):
        wanted = {k for k in inspect.signature(thing.__init__).parameters if k != "self"}
    else:
        wanted = set(getattr(thing, "_fields", ()))  # of a NamedTuple
    wanted = {word for word in wanted - UNMENTIONED.keys() if not word.startswith("_")}
    if name.startswith("recipes."):
        wanted -= OF_EVERY_RECIPE
    said = documentation(thing)
    missing = {word for word in wanted if not re.search(rf"\b{word}\b", said)}
    assert not missing, f"not mentioned: {sorted(missing)}"


@pytest.mark.parametrize("name", PUBLIC)
def test_docstring_names_the_errors_raised(name):
    thing = PUBLIC[name]
    function = vars(thing).get("__init__") if inspect.isclass(thing) else thing
    function = None if is_protocol(thing) else function
    errors = raised(function) if function else set()
    said = documentation(thing)
    assert not errors or "Raises:" in said, f"Raises: {sorted(errors)}"
    assert {error for error in errors if error not in said} == set()


@pytest.mark.parametrize("name", METHODS)
def test_methods_say_what_they_do_and_raise(name):
    owner, method = METHODS[name]
    said = inspect.cleandoc(method.__doc__ or "")
    if said:
        check_summary(said)
    else:  # an override may leave it to what it overrides, in ours or in another library
        above = [getattr(base, method.__name__, None) for base in inspect.getmro(owner)[1:]]
        assert any(getattr(member, "__doc__", None) for member in above), "no docstring"
    # What `forward` raises, its class may say.
    said += documentation(owner) if method.__name__ == "forward" else ""
    assert {error for error in raised(method) if error not in said} == set()
