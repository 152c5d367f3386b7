"""Settings of a cluster, from arguments and Dask's configuration, validated before any request to Kubernetes."""

from __future__ import annotations

import copy
import getpass
import math
import os
import re
import string
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Self

import dask.config
import yaml
from dask.utils import parse_timedelta

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests.fields import (
    LONGEST_CLUSTER_NAME,
    MOST_WORKERS,
    Env,
    Manifest,
    command_words,
    env_list,
    resource_requirements,
    validate_cluster_name,
    validate_count,
)
from dask_kubernetes.operator.manifests.spec import make_cluster_spec

_SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")
# Placeholder for the unique part of a name while the rest is shortened. No environment variable can contain it.
_UNIQUE = "\0"


class CreateMode(Enum):
    """The choice between creating a cluster and connecting to an existing one. A mode's value can be used instead."""

    CREATE_ONLY = "CREATE_ONLY"
    CREATE_OR_CONNECT = "CREATE_OR_CONNECT"
    CONNECT_ONLY = "CONNECT_ONLY"


@dataclass(frozen=True)
class Settings:
    """Settings of a KubeCluster, from its arguments or else from Dask's configuration. Timeouts are in seconds."""

    name: str
    namespace: str | None
    """The default, None, stands for the namespace of this Pod, or of the kubeconfig's context."""
    image: str
    n_workers: int | None
    resources: Manifest | None
    env: list[Manifest] | None
    worker_command: list[str]
    port_forward_cluster_ip: bool | None
    create_mode: CreateMode
    shutdown_on_close: bool | None
    """The default, None, stands for True if this object creates the cluster, else False."""
    idle_timeout: int
    resource_timeout: float
    scheduler_service_type: str
    custom_cluster_spec: Manifest | None
    scheduler_forward_port: int | None
    jupyter: bool

    @classmethod
    def of(
        cls,
        *,
        name: str | None = None,
        namespace: str | None = None,
        image: str | None = None,
        n_workers: int | None = None,
        resources: Mapping[str, Any] | None = None,
        env: Env | None = None,
        worker_command: str | Sequence[str] | None = None,
        port_forward_cluster_ip: bool | None = None,
        create_mode: CreateMode | str | None = None,
        shutdown_on_close: bool | None = None,
        idle_timeout: float | str | None = None,
        resource_timeout: float | str | None = None,
        scheduler_service_type: str | None = None,
        custom_cluster_spec: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        scheduler_forward_port: int | str | None = None,
        jupyter: bool = False,
    ) -> Self:
        """Validate arguments, with Dask's configuration in place of those that are None.

        Raises
        ------
        ValidationError
            If a setting is invalid; the message names it and says what is valid.
        """
        custom = _custom_spec(_setting("kubernetes.custom-cluster-spec", custom_cluster_spec))
        if custom and name is not None and custom_cluster_spec is None:
            # An argument overrides the configuration, even a whole cluster in the configuration.
            custom["metadata"]["name"] = cluster_name(name, name)
        return cls(
            name=custom["metadata"]["name"] if custom else cluster_name(name, _setting("kubernetes.name")),
            namespace=_namespace(namespace, custom),
            image=_image(_setting("kubernetes.image", image)),
            n_workers=_workers(_setting("kubernetes.count.start", n_workers)),
            resources=resource_requirements(_setting("kubernetes.resources", resources)),
            env=env_list(_setting("kubernetes.env", env)),
            worker_command=command_words(_setting("kubernetes.worker-command", worker_command)),
            port_forward_cluster_ip=_setting("kubernetes.port-forward-cluster-ip", port_forward_cluster_ip),
            create_mode=_create_mode(_setting("kubernetes.create-mode", create_mode)),
            shutdown_on_close=_setting("kubernetes.shutdown-on-close", shutdown_on_close),
            idle_timeout=math.ceil(_seconds("idle_timeout", _setting("kubernetes.idle-timeout", idle_timeout) or 0)),
            resource_timeout=_seconds("resource_timeout", _setting("kubernetes.resource-timeout", resource_timeout)),
            scheduler_service_type=_service_type(_setting("kubernetes.scheduler-service-type", scheduler_service_type)),
            custom_cluster_spec=custom,
            scheduler_forward_port=_port(_setting("kubernetes.scheduler-forward-port", scheduler_forward_port)),
            jupyter=bool(jupyter or _setting("kubernetes.scheduler-jupyter")),
        )

    def manifest(self) -> Manifest:
        """Return the manifest of the DaskCluster to create."""
        if self.custom_cluster_spec is not None:
            return copy.deepcopy(self.custom_cluster_spec)
        return make_cluster_spec(
            name=self.name,
            image=self.image,
            n_workers=self.n_workers,
            resources=self.resources,
            env=self.env,
            worker_command=self.worker_command,
            scheduler_service_type=self.scheduler_service_type,
            idle_timeout=self.idle_timeout,
            jupyter=self.jupyter,
        )


def cluster_name(given: str | None, template: str) -> str:
    """Return the given name unchanged, or one made from a template. Raises ValidationError if it is invalid.

    A given name with `{…}` is itself a template.
    """
    name = given if given is not None and "{" not in str(given) else fitting_name(given or template)
    validate_cluster_name(name)
    return name


def fitting_name(template: str) -> str:
    """Return a name from a template, with invalid characters replaced; a long name is cut, but not its uuid."""
    text = re.sub(rf"[^a-z0-9{_UNIQUE}]+", "-", _filled(template).lower()).strip("-")
    if not text[:1].isalpha():
        # The name of a Service must start with a letter.
        text = f"dask-{text}".rstrip("-")
    before, mark, after = text.partition(_UNIQUE)
    if not mark:
        return text[:LONGEST_CLUSTER_NAME].rstrip("-")
    unique = uuid.uuid4().hex[:10]
    after = after.replace(_UNIQUE, unique)[: LONGEST_CLUSTER_NAME // 2].rstrip("-")
    return _cut(before, LONGEST_CLUSTER_NAME - len(unique + after)) + unique + after


def _filled(template: str) -> str:
    """Return the template filled with the user and environment variables, and with `_UNIQUE` in place of its uuid."""
    values = {**os.environ, "user": _user(), "uuid": _UNIQUE}
    try:
        return string.Formatter().vformat(template, (), values)
    except KeyError as unknown:
        raise ValidationError(
            f"The name {template!r} contains {{{unknown.args[0]}}}, but there is no such environment variable: set it, "
            "or use {user}, {uuid} or another variable."
        ) from None
    except (ValueError, LookupError, AttributeError, TypeError):
        raise ValidationError(
            f"{template!r} is not a template for names: write text with {{user}}, {{uuid}} or environment variables in "
            'braces, as in "dask-{user}-{uuid}".'
        ) from None


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 1].rstrip("-") + "-"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # The user id of a container may have no name.
        return "dask"


def _setting(key: str, given: object = None) -> Any:
    return dask.config.get(key, override_with=given)


def _namespace(given: str | None, custom: Manifest | None) -> str | None:
    namespace = given or (custom or {}).get("metadata", {}).get("namespace") or _setting("kubernetes.namespace")
    return None if namespace is None else str(namespace)


def _image(image: object) -> str:
    if isinstance(image, str) and image.strip():
        return image
    raise ValidationError(f"image is {image!r}: it must be the name of a container image, with a tag.")


def _workers(number: Any) -> int | None:
    validate_count("n_workers", number, MOST_WORKERS)
    return None if number is None else int(number)


def _create_mode(mode: object) -> CreateMode:
    try:
        return CreateMode(mode)
    except ValueError:
        known = ", ".join(mode.value for mode in CreateMode)
        raise ValidationError(f"create_mode is {mode!r}: it must be one of {known}.") from None


def _service_type(kind: object) -> str:
    if isinstance(kind, str) and kind in _SERVICE_TYPES:
        return kind
    raise ValidationError(f"scheduler_service_type is {kind!r}: it must be one of {', '.join(_SERVICE_TYPES)}.")


def _seconds(what: str, value: Any) -> float:
    try:
        seconds = float("nan") if isinstance(value, bool) else float(parse_timedelta(value))
    except (ValueError, TypeError, KeyError, AttributeError):
        seconds = float("nan")
    if 0 <= seconds < math.inf:
        return seconds
    raise ValidationError(f'{what} is {value!r}: it must be a number of seconds, or a duration as in "2 minutes".')


def _port(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, bool) and str(value).isdecimal() and 0 < int(value) < 65536:
        return int(value)
    raise ValidationError(f"scheduler_forward_port is {value!r}: it must be a local port, from 1 to 65535.")


def _custom_spec(given: str | os.PathLike[str] | Mapping[str, Any] | None) -> Manifest | None:
    """Return a copy of a DaskCluster manifest, given as a mapping or as the path of a YAML file."""
    if given is None:
        return None
    where, manifest = ("custom_cluster_spec", given) if isinstance(given, Mapping) else (str(given), _read(Path(given)))
    if not isinstance(manifest, Mapping) or manifest.get("kind") != "DaskCluster":
        raise ValidationError(f"{where} is not a DaskCluster: it must be a manifest with `kind: DaskCluster`.")
    metadata = manifest.get("metadata")
    if not isinstance(metadata, Mapping) or not metadata.get("name"):
        raise ValidationError(f"{where} has no metadata.name: set the DaskCluster's name there.")
    if not isinstance(manifest.get("spec"), Mapping):
        raise ValidationError(f"{where} has no spec: start from the result of `make_cluster_spec`.")
    validate_cluster_name(metadata["name"])
    return copy.deepcopy(dict(manifest))


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.expanduser().read_text())
    except OSError as error:
        raise ValidationError(f"custom_cluster_spec cannot be read: {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path} is not a YAML file with a single object: {error}") from None
