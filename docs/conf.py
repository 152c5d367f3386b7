"""Sphinx' settings, for `make docs`. Nothing here reads from the network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Dask on Kubernetes"
author = "Dask developers"
copyright = "Dask developers"  # noqa: A001 - Sphinx' name

extensions = ["myst_parser", "included", "configuration", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]
nitpicky = True
nitpick_ignore = [("py:class", "distributed.exceptions.WorkerStartTimeoutError")]

# Docstrings have single backticks around code, as all our Markdown.
default_role = "code"
# Docstrings describe the arguments, so signatures need no types.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
# The types in docstrings are for people: Sphinx cannot link "list of dict" to a class.
napoleon_use_param = False
napoleon_use_rtype = False

# Headings have anchors, as on the site where the repository is published.
myst_heading_anchors = 3

html_theme = "dask_sphinx_theme"
html_title = project
templates_path = ["_templates"]
html_theme_options = {
    "repository_url": "https://github.com/dask/dask-kubernetes",
    "repository_branch": "main",
    "path_to_docs": "docs",
    "use_repository_button": True,
    "use_edit_page_button": True,
    "use_download_button": False,
    "home_page_in_toc": True,
    "logo_link": "",  # the first page; by default the theme links to a picture
}
html_copy_source = False
