"""Fields of manifests from Python arguments, and the rules for valid values."""

from __future__ import annotations

import copy
import difflib
import operator
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from dask_kubernetes.exceptions import ValidationError

Manifest = dict[str, Any]
Env = Sequence[Mapping[str, Any]] | Mapping[str, Any]

# Names of Pods and Services derive from the cluster's name, and may have at most 63 characters.
LONGEST_CLUSTER_NAME = 53
LONGEST_GROUP_NAME = 63
# No scheduler can serve more, so a larger number is a typing error.
MOST_WORKERS = 10_000
# As the definitions say.
LONGEST_DRAIN = 365 * 24 * 60 * 60
CLUSTER_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
GROUP_NAME = re.compile(rf"{CLUSTER_NAME.pattern}(\.{CLUSTER_NAME.pattern})*")

_SERVICE_TYPES = ("ClusterIP", "NodePort", "LoadBalancer")
_OLD_COMMANDS = {"dask-worker": ["dask", "worker"], "dask-scheduler": ["dask", "scheduler"]}
_VARIABLE_FIELDS = frozenset({"name", "value", "valueFrom"})
_RESOURCE_FIELDS = frozenset({"requests", "limits", "claims"})
# Kubernetes' own resources. All others have a domain, as in nvidia.com/gpu.
_RESOURCES = re.compile(r"cpu|memory|ephemeral-storage|hugepages-.+|.+/.+")

_QUANTITY = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?")


def validate_cluster_name(name: object) -> None:
    """Raise a ValidationError if a DaskCluster cannot have this name."""
    if isinstance(name, str) and len(name) <= LONGEST_CLUSTER_NAME and CLUSTER_NAME.fullmatch(name):
        return
    raise ValidationError(
        f"A DaskCluster cannot be called {name!r}: a name has 1 to {LONGEST_CLUSTER_NAME} lower-case letters, digits "
        'and "-", and starts and ends with a letter or digit.'
    )


def worker_count(what: str, number: object, most: int = sys.maxsize) -> int:
    """Return a number of workers as an int, also one of NumPy. Raises ValidationError, which names `what`."""
    try:
        whole = -1 if isinstance(number, bool) else operator.index(number)  # type: ignore[arg-type]
    except TypeError:
        whole = -1
    if whole < 0:
        raise ValidationError(f"{what} is {number!r}: it must be a whole number of workers, 0 or more.")
    if whole > most:
        raise ValidationError(
            f"{what} is {number}: a Dask cluster has at most {most} workers. Use fewer workers with more threads."
        )
    return whole


def optional_count(what: str, number: object, most: int = sys.maxsize) -> int | None:
    """Return a number of workers as an int, or None for None. Raises ValidationError."""
    return None if number is None else worker_count(what, number, most)


def flag(what: str, value: object) -> bool:
    """Return True or False; environment variables also say 1 and 0. Raises ValidationError."""
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValidationError(f"{what} is {value!r}: it must be True or False.")


def image_name(image: object) -> str:
    """Return the name of a container image. Raises ValidationError if it is not a single word."""
    if isinstance(image, str) and re.fullmatch(r"\S+", image):
        return image
    raise ValidationError(f"image is {image!r}: it must be the name of a container image, with a tag.")


def service_type(kind: object) -> str:
    """Return the type of the scheduler's Service. Raises ValidationError if a scheduler cannot have it."""
    if isinstance(kind, str) and kind in _SERVICE_TYPES:
        return kind
    raise ValidationError(f"scheduler_service_type is {kind!r}: it must be one of {', '.join(_SERVICE_TYPES)}.")


def idle_seconds(value: object) -> int | None:
    """Return an idle timeout as an int, or None for None. Raises ValidationError."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValidationError(f"idle_timeout is {value!r}: it must be a whole number of seconds, 0 for never.")


def drain_seconds(value: object) -> int | None:
    """Return a drain timeout as an int, or None for None. Raises ValidationError."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LONGEST_DRAIN:
        return value
    raise ValidationError(
        f"drain_timeout is {value!r}: it must be a whole number of seconds, at most {LONGEST_DRAIN}, a year."
    )


def command_words(command: object) -> list[str]:
    """Split a command into words; `dask-worker` and `dask-scheduler`, removed from Dask, become `dask worker` etc."""
    words = _split(command) if isinstance(command, str) else _listed_words(command)
    if not words:
        raise ValidationError('worker_command is empty: write the command that starts a worker, as in "dask worker".')
    return [*_OLD_COMMANDS.get(words[0], words[:1]), *words[1:]]


def env_list(env: Env | None) -> list[Manifest] | None:
    """Return the environment variables of a container, None if empty.

    In a dict of variables, a value may be a dict such as `{"valueFrom": …}`; a variable whose value is None is omitted.
    """
    if env is None:
        return None
    if isinstance(env, Mapping):
        return [_variable(name, value) for name, value in env.items() if value is not None] or None
    if not _is_list(env) or not all(isinstance(item, Mapping) and item.get("name") for item in env):
        raise ValidationError(
            'env must be a dict, as in {"NAME": "value"}, or a list of dicts with a name each, as in '
            '[{"name": "NAME", "value": "value"}].'
        )
    return [_listed_variable(item) for item in env] or None


def resource_requirements(resources: Mapping[str, Any] | None) -> Manifest | None:
    """Return the resources of a container, None if empty. `{"cpu": …, "memory": …}` sets both requests and limits."""
    if resources is None:
        return None
    if not isinstance(resources, Mapping):
        raise ValidationError(f'resources is {resources!r}: it must be a dict, as in {{"cpu": 1, "memory": "2Gi"}}.')
    if not resources:
        return None
    sections = [str(name) for name, value in resources.items() if isinstance(value, Mapping)]
    if wrong := next((name for name in sections if name not in _RESOURCE_FIELDS), None):
        likely = difflib.get_close_matches(wrong.lower(), ("limits", "requests"), n=1)
        raise ValidationError(
            f"resources has no field {wrong!r}: write {' or '.join(map(repr, likely or ('limits', 'requests')))}."
        )
    if not _RESOURCE_FIELDS & resources.keys():
        return {"requests": _quantities("resources", resources), "limits": _quantities("resources", resources)}
    if unknown := sorted(set(map(str, resources)) - _RESOURCE_FIELDS):
        raise ValidationError(
            f"resources has the unknown field {unknown[0]!r} beside requests and limits: move it into one of them."
        )
    claims = {"claims": copy.deepcopy(resources["claims"])} if resources.get("claims") else {}
    parts = {part: _quantities(part, resources[part]) for part in ("requests", "limits") if resources.get(part)}
    return {part: quantities for part, quantities in parts.items() if quantities} | claims or None


def without_nulls(value: Any) -> Any:
    """Return a copy of a manifest, or of a part of it, without keys whose value is None."""
    if isinstance(value, Mapping):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in value]
    return copy.deepcopy(value)


def _quantities(part: str, quantities: object) -> Manifest:
    if not isinstance(quantities, Mapping):
        raise ValidationError(f'{part} is {quantities!r}: it must be a dict, as in {{"cpu": 1, "memory": "2Gi"}}.')
    if wrong := next((name for name in quantities if not _RESOURCES.fullmatch(str(name))), None):
        raise ValidationError(
            f"{wrong!r} is no resource of a container: write cpu, memory or ephemeral-storage, or a name with a "
            "domain, as in nvidia.com/gpu."
        )
    return {str(name): _quantity(name, value) for name, value in quantities.items() if value is not None}


def _quantity(name: str, value: object) -> int | str:
    text = "" if isinstance(value, bool) else str(value)
    if isinstance(value, int | float | str) and _QUANTITY.fullmatch(text):
        return value if isinstance(value, int) else text
    raise ValidationError(f'{name} is {value!r}: it must be a Kubernetes quantity, as in 2, "500m" or "4Gi".')


def _variable(name: object, value: object) -> Manifest:
    return _listed_variable({"name": name, **value} if isinstance(value, Mapping) else {"name": name, "value": value})


def _listed_variable(item: Mapping[str, Any]) -> Manifest:
    name = str(item["name"])
    if unknown := sorted(map(str, item.keys() - _VARIABLE_FIELDS)):
        raise ValidationError(
            f"the variable {name} of env has the unknown field {unknown[0]!r}: it has value or valueFrom."
        )
    given = {key: copy.deepcopy(value) for key, value in item.items() if value is not None} | {"name": name}
    return given | {"value": _text(name, given["value"])} if "value" in given else given


def _text(name: str, value: object) -> str:
    if isinstance(value, Mapping | bytes) or _is_list(value):
        raise ValidationError(f"the variable {name} of env is {value!r}: its value must be text.")
    return str(value)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes)


def _listed_words(command: Any) -> list[str]:
    if not _is_list(command) or any(_is_list(word) or isinstance(word, Mapping | bytes) for word in command):
        raise ValidationError(
            f'worker_command is {command!r}: write it as text or a list of words, as in "dask worker --nthreads 2".'
        )
    return [str(word) for word in command]


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ValidationError(f"worker_command cannot be parsed ({error}): write it as a list of words.") from None
