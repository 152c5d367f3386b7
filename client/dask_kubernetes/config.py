"""The defaults of Dask's configuration under `kubernetes`, from kubernetes.yaml beside this file."""

from __future__ import annotations

from pathlib import Path

import dask.config
import yaml

DEFAULTS = Path(__file__).with_name("kubernetes.yaml")


def load() -> None:
    """Makes the defaults known, and puts them as comments into the user's folder, as all of Dask's packages do."""
    dask.config.ensure_file(source=str(DEFAULTS))
    dask.config.update_defaults(yaml.safe_load(DEFAULTS.read_text()))
