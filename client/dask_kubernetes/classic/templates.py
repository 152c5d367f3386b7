"""Pod templates from an object, a file, or Dask's configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dask.config
import yaml

from dask_kubernetes.classic.pods import make_pod_from_dict, plain
from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests.fields import Manifest


def pod_template(given: object) -> Manifest:
    """Return a Pod's manifest from a mapping, the path of a YAML file, or an object of a Kubernetes client."""
    if isinstance(given, str | os.PathLike):
        return make_pod_from_dict(_read(Path(given)))
    return make_pod_from_dict(plain(given))


def configured_template() -> Manifest:
    """Return the worker's Pod from Dask's configuration. Raises ValidationError if there is none."""
    if path := dask.config.get("kubernetes.worker-template-path"):
        return pod_template(_filled_path(path))
    if template := dask.config.get("kubernetes.worker-template"):
        return make_pod_from_dict(dask.config.expand_environment_variables(template))
    raise ValidationError(
        "There is no pod template: pass one to KubeCluster, or set kubernetes.worker-template-path in Dask's "
        "configuration. KubeCluster of dask_kubernetes.operator needs none."
    )


def _filled_path(path: str) -> str:
    try:
        return path.format_map(os.environ)
    except (ValueError, LookupError) as problem:
        raise ValidationError(
            f"kubernetes.worker-template-path is {path!r}, but {problem} is not an environment variable: set it, or "
            "write the path itself."
        ) from None


def _read(path: Path) -> Any:
    try:
        return dask.config.expand_environment_variables(yaml.safe_load(path.expanduser().read_text()))
    except OSError as error:
        raise ValidationError(f"The pod template cannot be read: {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path} is not a YAML file with a single object: {error}") from None
