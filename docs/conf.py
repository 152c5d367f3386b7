"""Sphinx' settings: `make docs`. Nothing here reads from the network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

project = "Dask on Kubernetes"
author = "Dask developers"
copyright = "Dask developers"  # noqa: A001 - it is Sphinx' name

extensions = ["myst_parser", "included", "configuration", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]
nitpicky = True
nitpick_ignore = [("py:class", "distributed.exceptions.WorkerStartTimeoutError")]

# Docstrings have backticks around code, as everything else here.
default_role = "code"
# They say what an argument is; signatures need not say it again.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
# Their types are for people: "list of dict" is no class to link to.
napoleon_use_param = False
napoleon_use_rtype = False

# Headings can be linked to, as on the site where the repository is published.
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
    "logo_link": "",  # the first page; the theme's own leads to a picture
}
html_copy_source = False
