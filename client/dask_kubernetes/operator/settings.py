"""Settings of a cluster, from arguments and Dask's configuration, validated before any request to Kubernetes."""

from __future__ import annotations

import copy
import getpass
import math
import os
import re
import string
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Self

import dask.config
import yaml
from dask.utils import parse_timedelta

from dask_kubernetes.exceptions import ValidationError
from dask_kubernetes.operator.manifests.fields import (
    LONGEST_CLUSTER_NAME,
    LONGEST_DRAIN,
    MOST_WORKERS,
    Manifest,
    command_words,
    env_list,
    flag,
    image_name,
    optional_count,
    resource_requirements,
    service_type,
    validate_cluster_name,
    without_nulls,
)
from dask_kubernetes.operator.manifests.spec import make_cluster_spec

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
# Placeholder for the unique part of a name while the rest is shortened. No environment variable can contain it.
_UNIQUE = "\0"


class CreateMode(Enum):
    """The choice between creating a cluster and connecting to an existing one. Arguments also accept a mode's value."""

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
    restricted: bool
    drain_timeout: int | None
    """The default, None, leaves the time to the operator."""

    @classmethod
    def of(cls, **arguments: Any) -> Self:
        """Validate the arguments of `KubeCluster`. Dask's configuration replaces missing ones and those that are None.

        Raises
        ------
        ValidationError
            If a setting is invalid; the message names it and says what is valid.
        """
        if unknown := arguments.keys() - cls.__dataclass_fields__:
            raise TypeError(f"KubeCluster has no argument {min(unknown)!r}")
        name, custom_cluster_spec = arguments.get("name"), arguments.get("custom_cluster_spec")
        custom = _custom_spec(_setting("kubernetes.custom-cluster-spec", custom_cluster_spec))
        if custom and name is not None and custom_cluster_spec is None:
            # An argument overrides the configuration, even a whole cluster in the configuration.
            custom["metadata"]["name"] = cluster_name(name, name)
        # False is KubeCluster's default, and leaves the choice to the configuration.
        given = arguments | ({"jupyter": None} if arguments.get("jupyter") is False else {})
        return cls(
            name=custom["metadata"]["name"] if custom else cluster_name(name, _setting("kubernetes.name")),
            namespace=_namespace(arguments.get("namespace"), custom),
            custom_cluster_spec=custom,
            **{field: read(_setting(key, given.get(field))) for field, (key, read) in _SOURCES.items()},
        )

    def manifest(self) -> Manifest:
        """Return the manifest of the DaskCluster to create, without nulls."""
        made = self.custom_cluster_spec or make_cluster_spec(
            name=self.name,
            image=self.image,
            n_workers=self.n_workers,
            resources=self.resources,
            env=self.env,
            worker_command=self.worker_command,
            scheduler_service_type=self.scheduler_service_type,
            idle_timeout=self.idle_timeout,
            jupyter=self.jupyter,
            restricted=self.restricted,
            drain_timeout=self.drain_timeout,
        )
        return dict(without_nulls(made))


def cluster_name(given: str | None, template: str) -> str:
    """Return the given name unchanged, or one made from a template. Raises ValidationError if it is invalid.

    A given name with `{…}` is itself a template.
    """
    is_template = given is None or (isinstance(given, str) and "{" in given)
    name = fitting_name(given or template) if is_template else given
    validate_cluster_name(name)
    return str(name)


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


def seconds_to_drain(value: Any) -> int | None:
    """Return a drain timeout, given as seconds or as a duration, as whole seconds. Raises ValidationError."""
    if value is None:
        return None
    seconds = _seconds("drain_timeout", value)
    if seconds > LONGEST_DRAIN:
        raise ValidationError(f"drain_timeout is {value!r}: it must be at most a year.")
    return math.ceil(seconds)


def _setting(key: str, given: object = None) -> Any:
    return dask.config.get(key, override_with=given)


def _namespace(given: object, custom: Manifest | None) -> str | None:
    found = (given, (custom or {}).get("metadata", {}).get("namespace"), _setting("kubernetes.namespace"))
    namespace = next((each for each in found if each not in (None, "")), None)
    # An environment variable with digits alone becomes a number.
    text = str(namespace) if isinstance(namespace, int) and not isinstance(namespace, bool) else namespace
    if text is None or (isinstance(text, str) and _NAMESPACE.fullmatch(text)):
        return text
    raise ValidationError(f"namespace is {namespace!r}: it must be the name of a namespace of Kubernetes.")


def _create_mode(mode: object) -> CreateMode:
    try:
        return CreateMode(mode)
    except ValueError:
        known = ", ".join(mode.value for mode in CreateMode)
        raise ValidationError(f"create_mode is {mode!r}: it must be one of {known}.") from None


def _seconds(what: str, value: Any) -> float:
    try:
        seconds = float("nan") if isinstance(value, bool) else float(parse_timedelta(value))
    except (ValueError, TypeError, LookupError, AttributeError):
        seconds = float("nan")
    if 0 <= seconds < math.inf:
        return seconds
    raise ValidationError(f'{what} is {value!r}: it must be a number of seconds, or a duration as in "2 minutes".')


def _idle_timeout(value: Any) -> int:
    return 0 if value is None else math.ceil(_seconds("idle_timeout", value))


def _optional_flag(what: str, value: object) -> bool | None:
    return None if value is None else flag(what, value)


def _port(value: Any) -> int | None:
    if value is None:
        return None
    if not isinstance(value, bool) and str(value).isdecimal() and 0 < int(value) < 65536:
        return int(value)
    raise ValidationError(f"scheduler_forward_port is {value!r}: it must be a local port, from 1 to 65535.")


def _custom_spec(given: Any) -> Manifest | None:
    """Return a copy of a DaskCluster manifest, given as a mapping or as the path of a YAML file."""
    if given is None:
        return None
    if not isinstance(given, Mapping | str | os.PathLike):
        raise ValidationError(f"custom_cluster_spec is {given!r}: it must be a manifest, or the path of a YAML file.")
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


# For each setting its key in Dask's configuration, and the function that validates its value.
_SOURCES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "image": ("kubernetes.image", image_name),
    "n_workers": ("kubernetes.count.start", partial(optional_count, "n_workers", most=MOST_WORKERS)),
    "resources": ("kubernetes.resources", resource_requirements),
    "env": ("kubernetes.env", env_list),
    "worker_command": ("kubernetes.worker-command", command_words),
    "port_forward_cluster_ip": (
        "kubernetes.port-forward-cluster-ip",
        partial(_optional_flag, "port_forward_cluster_ip"),
    ),
    "create_mode": ("kubernetes.create-mode", _create_mode),
    "shutdown_on_close": ("kubernetes.shutdown-on-close", partial(_optional_flag, "shutdown_on_close")),
    "idle_timeout": ("kubernetes.idle-timeout", _idle_timeout),
    "resource_timeout": ("kubernetes.resource-timeout", partial(_seconds, "resource_timeout")),
    "scheduler_service_type": ("kubernetes.scheduler-service-type", service_type),
    "scheduler_forward_port": ("kubernetes.scheduler-forward-port", _port),
    "jupyter": ("kubernetes.scheduler-jupyter", partial(flag, "jupyter")),
    "restricted": ("kubernetes.restricted", partial(flag, "restricted")),
    "drain_timeout": ("kubernetes.drain-timeout", seconds_to_drain),
}
