"""Where the template of a Pod comes from: an object, a file, or Dask's configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dask.config
import yaml

from dask_kubernetes.classic.pods import make_pod_from_dict, plain
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.spec import Manifest


def pod_template(given: object) -> Manifest:
    """A Pod's manifest from one, from the path of a YAML file, or from an object of a Kubernetes client."""
    if isinstance(given, str | os.PathLike):
        return make_pod_from_dict(_read(Path(given)))
    return make_pod_from_dict(plain(given))


def configured_template() -> Manifest:
    """The Pod of workers in Dask's configuration."""
    if path := dask.config.get("kubernetes.worker-template-path"):
        return pod_template(_filled_path(path))
    if template := dask.config.get("kubernetes.worker-template"):
        return make_pod_from_dict(dask.config.expand_environment_variables(template))
    raise ValidationError(
        "There is no pod template: give KubeCluster one, or set kubernetes.worker-template-path in Dask's "
        "configuration. Without one, use KubeCluster of dask_kubernetes.operator."
    )


def _filled_path(path: str) -> str:
    try:
        return path.format_map(os.environ)
    except (ValueError, LookupError) as problem:
        raise ValidationError(
            f"kubernetes.worker-template-path is {path!r}, and {problem} is no environment variable: set it, or "
            "write the path itself."
        ) from None


def _read(path: Path) -> Any:
    try:
        return dask.config.expand_environment_variables(yaml.safe_load(path.expanduser().read_text()))
    except OSError as error:
        raise ValidationError(f"The pod template cannot be read: {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path} is not YAML of a single object: {error}") from None
