"""Sphinx: MyST for pages and notebooks, autodoc for the reference, mathematics without a network.

python -m sphinx -W docs docs/_build/html
"""

import html
import shutil
from importlib import import_module
from importlib.metadata import version as installed
from pathlib import Path

import latex2mathml.converter
import ziamath
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from pyrogeo.recipes import CATALOGUE
from pyrogeo.sampling.methods import METHODS, Method

HERE = Path(__file__).parent
# Whose public names all have an entry in the reference.
PUBLIC = [
    "vae", "vae.priors", "vae.guides", "vae.likelihoods", "vae.networks", "vae.objectives", "recipes",
    "latents", "geometry", "interpolation", "distributions", "annealing", "moves", "sampling",
    "sampling.methods", "verdict", "plots", "datasets", "run", "reports", "jobs.fit", "jobs.sample",
    "jobs.demo", "errors",
]  # fmt: skip

project = "pyrogeo"
author = "the pyrogeo contributors"
release = version = installed("pyrogeo")
project_copyright = author

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "_generated"]

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # notebooks are committed with their outputs
nb_merge_streams = True

default_role = "code"  # what single backticks mean in the docstrings
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "imported-members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
napoleon_use_ivar = True
napoleon_use_rtype = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = "pyrogeo"
html_static_path = ["_static", "_generated/static"]
html_css_files = ["style.css"]
html_theme_options = {"top_of_page_buttons": ["view"], "navigation_with_keys": True}
html_show_sourcelink = False
html_math_renderer = "mathml"
suppress_warnings = ["mystnb.unknown_mime_type"]


def copied_tutorials() -> None:
    """Sphinx reads only what lies below its folder, from where the pages are one step up."""
    folder = HERE / "tutorials"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for notebook in sorted((HERE.parent / "tutorials").glob("*.ipynb")):
        (folder / notebook.name).write_text(notebook.read_text().replace("](../docs/", "](../"))


def recipes_table() -> str:
    """The catalogue, whose words are the recipes' docstrings."""
    rows = [
        f"| [`{name}`](#pyrogeo.recipes.{name}) | {entry.summary} | {entry.source} |"
        for name, entry in CATALOGUE.items()
    ]
    return "\n".join(["| recipe | what it is | source |", "|:--|:--|:--|", *rows]) + "\n"


def methods_table() -> str:
    """The ways of drawing, whose words are in their records."""
    rows = [
        f"| `{name}` | {record.summary} | {', '.join(record.needs)} | {_own_settings(record)} |"
        for name, record in METHODS.items()
    ]
    head = "| name | what it draws | what it needs | settings of its own |"
    return "\n".join([head, "|:--|:--|:--|:--|", *rows]) + "\n"


def _own_settings(record: Method) -> str:
    common = ("num_chains", "seed", "progress")
    return ", ".join(f"`{name}`" for name in record.settings if name not in common)


def mathml(latex: str, display: str) -> str:
    """MathML, which browsers draw themselves."""
    return latex2mathml.converter.convert(latex, display=display)


def inline_math(translator, node: nodes.math) -> None:
    translator.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def display_math(translator, node: nodes.math_block) -> None:
    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    label = f' id="{html.escape(node["ids"][0])}"' if node["ids"] else ""
    formula = mathml(node.astext(), "block")
    translator.body.append(f'<div class="math"{label}>{number}{formula}</div>\n')
    raise nodes.SkipNode


def skipped(app, what, name, obj, skip, options) -> bool | None:
    """Fields of named tuples, which their docstrings describe already."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def whole_sentences(app, what, name, obj, options, lines: list[str]) -> None:
    """Breaks a property's first line at its colons, before which napoleon would see a type."""
    if what == "property" and lines:
        *before, last = lines[0].split(": ")
        lines[:1] = [f"{part}:" for part in before] + [last]


def without_object(_: Sphinx, doctree: nodes.document) -> None:
    """Takes out that a class derives from `object`, which goes without saying."""
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if paragraph.astext() == "Bases: object":
            paragraph.parent.remove(paragraph)


def check_complete(_: Sphinx, env: BuildEnvironment) -> None:
    """Warns of public names of the library without an entry in the reference."""
    entries = env.domaindata["py"]["objects"]
    for room in PUBLIC:
        module = import_module(f"pyrogeo.{room}")
        public = [name for name in module.__all__ if callable(getattr(module, name))]
        missing = [name for name in public if f"pyrogeo.{room}.{name}" not in entries]
        if missing:
            logging.getLogger(__name__).warning("no entry: %s of %s", missing, module.__name__)


def setup(app: Sphinx) -> None:
    app.connect("autodoc-skip-member", skipped)
    app.connect("autodoc-process-docstring", whole_sentences, priority=400)  # napoleon has 500
    app.connect("doctree-read", without_object)
    app.connect("env-check-consistency", check_complete)
    app.add_html_math_renderer("mathml", (inline_math, None), (display_math, None))


copied_tutorials()
(HERE / "_generated" / "static").mkdir(parents=True, exist_ok=True)
(HERE / "_generated" / "recipes.md").write_text(recipes_table())
(HERE / "_generated" / "methods.md").write_text(methods_table())
# A font whose brackets and roots grow with what they hold; most machines have none.
shutil.copy(
    Path(ziamath.__file__).parent / "fonts" / "STIXTwoMath-Regular.ttf",
    HERE / "_generated" / "static",
)
