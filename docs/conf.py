"""Sphinx configuration; warnings are errors in CI."""

import importlib.util
import inspect
import os
import warnings
from pathlib import Path

import matplotlib
from sphinx.util.fileutil import copy_asset
from sphinx_gallery.sorting import ExplicitOrder

from smoothcs import CostSensitiveSmoothedClassifier, __version__

matplotlib.use("Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # small networks gain nothing from more
warnings.filterwarnings("ignore", message=".*is non-interactive.*")

project = "smoothcs"
author = "The smoothcs developers"
copyright = f"2026, {author}"
version = release = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
exclude_patterns = ["_build"]
templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "header_links_before_dropdown": 5,
}
html_title = "smoothcs"
# Pages without pages below them need no list of these, and the tables need the room.
html_sidebars = {
    page: []
    for page in (
        "benchmarks",
        "changelog",
        "cheat_sheet",
        "contributing",
        "glossary",
        "index",
        "objectives",
        "published_logs",
        "reliability",
    )
}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "within_subsection_order": ExplicitOrder(
        [
            "plot_quickstart.py",
            "plot_cost_matrix.py",
            "plot_medical.py",
            "plot_loan_book.py",
            "plot_digits_heatmaps.py",
            "plot_pipeline_units.py",
            "plot_abstention.py",
            "plot_decision_rules.py",
            "plot_grid_search.py",
            "plot_black_box.py",
            "plot_pretrained.py",
            "*",
            "plot_portfolio.py",
            "plot_cluster.py",
        ]
    ),
    "show_memory": False,
    "min_reported_time": 1,
}
html_static_path = ["_static"]
html_css_files = ["custom.css"]
toc_object_entries_show_parents = "hide"

# MathJax lies beside the pages, so that formulas can be read without other servers.
mathjax_path = "mathjax/tex-chtml.js"

# The cheat sheet quotes |sigma|, |alpha|, ... as they are in the code.
rst_epilog = "\n".join(
    f".. |{name}| replace:: ``{parameter.default!r}``"
    for name, parameter in inspect.signature(CostSensitiveSmoothedClassifier).parameters.items()
)


def copy_mathjax(app, error):
    """Copy what pages load of MathJax: its component for TeX, and fonts."""
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if error is None and app.builder.format == "html":
        source = Path(package.origin).parent / "static" / "mathjax"
        for part in ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions", "a11y"):
            target = app.outdir / "_static" / "mathjax" / part
            copy_asset(source / part, target if (source / part).is_dir() else target.parent)


def setup(app):
    app.connect("build-finished", copy_mathjax)
