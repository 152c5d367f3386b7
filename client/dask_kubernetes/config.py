"""Defaults for Dask's configuration under `kubernetes`, from the file kubernetes.yaml beside this module."""

from __future__ import annotations

from pathlib import Path

import dask.config
import yaml

DEFAULTS = Path(__file__).with_name("kubernetes.yaml")


def load() -> None:
    """Register the defaults, and copy them as comments into the user's configuration folder, as Dask's packages do."""
    dask.config.ensure_file(source=str(DEFAULTS))
    dask.config.update_defaults(yaml.safe_load(DEFAULTS.read_text()))
