"""The controller's addition to a Dask scheduler, with which workers leave without losing what they compute.

A scheduler gets the text of the module `scheduler` in an environment variable, and executes it as a preload. So it
works in any image with Dask. That module imports nothing of this package.
"""

from __future__ import annotations

from importlib import resources

TEXT = resources.files(__name__).joinpath("scheduler.py").read_text()
"""The agent, in Python."""
PRELOAD = "import os; exec(os.environ['KUBERNETES_DASK_AGENT'])"
"""A preload that executes it. Dask logs the text of a preload, so it is short."""
