"""Sphinx configuration."""

import importlib.metadata

project = "Noria"
author = "The Noria authors"
version = release = importlib.metadata.version("noria")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
default_role = "code"
python_use_unqualified_type_names = True

autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

myst_heading_anchors = 3

html_theme = "furo"
html_title = f"Noria {release}"
