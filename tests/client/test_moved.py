"""The import paths of earlier releases: all of 2026.3.0, and those of older ones that published programs use.

What cannot work is in UPGRADING.md, where its users look.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from pathlib import Path

import pytest
import yaml

import dask_kubernetes
from dask_kubernetes._moved import moved

UPGRADING = (Path(__file__).parents[2] / "UPGRADING.md").read_text()
MAKERS = ("make_cluster_spec", "make_scheduler_spec", "make_worker_spec")
PODS = ("make_pod_from_dict", "make_pod_spec")
AUTH = ("ClusterAuth", "InCluster", "KubeAuth", "KubeConfig")
# The modules and their public names: first those of 2026.3.0, then those of older releases.
SAME = {
    "dask_kubernetes": ("__version__", "config", "KubeCluster", *PODS, *AUTH),
    "dask_kubernetes.cli": ("main",),
    "dask_kubernetes.constants": (
        *("KUBECLUSTER_CONTAINER_NAME", "KUBERNETES_MAX_RESOURCE_NAME_LENGTH", "MAX_CLUSTER_NAME_LEN"),
        *("SCHEDULER_NAME_TEMPLATE", "VALID_CLUSTER_NAME"),
    ),
    "dask_kubernetes.exceptions": ("CrashLoopBackOffError", "SchedulerStartupError", "ValidationError"),
    "dask_kubernetes.operator": ("KubeCluster", "discover", *MAKERS),
    "dask_kubernetes.operator._objects": ("DaskAutoscaler", "DaskCluster", "DaskJob", "DaskWorkerGroup"),
    "dask_kubernetes.operator.kubecluster": ("KubeCluster", "discover", *MAKERS),
    "dask_kubernetes.operator.kubecluster.discovery": ("KubeCluster", "discover"),
    "dask_kubernetes.operator.kubecluster.kubecluster": ("CreateMode", "KubeCluster", *MAKERS),
    "dask_kubernetes.operator.validation": (
        *("MAX_CLUSTER_NAME_LEN", "VALID_CLUSTER_NAME", "ValidationError", "validate_cluster_name"),
    ),
    "dask_kubernetes.classic": ("KubeCluster", *PODS),
    "dask_kubernetes.classic.kubecluster": ("KubeCluster", *PODS),
    "dask_kubernetes.common.auth": AUTH,
}
DEPRECATED = {
    "dask_kubernetes.auth": AUTH,
    "dask_kubernetes.classic.kubecluster": ("ClusterAuth",),
    "dask_kubernetes.common.objects": (*PODS, "KUBECLUSTER_CONTAINER_NAME", "validate_cluster_name"),
    "dask_kubernetes.core": ("KubeCluster",),
    "dask_kubernetes.experimental": ("KubeCluster", "discover", *MAKERS),
    "dask_kubernetes.objects": PODS,
    "dask_kubernetes.operator.kubecluster.discovery": ("DaskCluster",),
    "dask_kubernetes.operator.kubecluster.kubecluster": (
        *("CrashLoopBackOffError", "DaskAutoscaler", "DaskCluster", "DaskWorkerGroup", "SchedulerStartupError"),
        "validate_cluster_name",
    ),
}
GONE = (
    *("dask_kubernetes.operator.controller", "dask_kubernetes.operator.networking", "dask_kubernetes.helm"),
    *("dask_kubernetes.common.networking", "dask_kubernetes.common.utils", "dask_kubernetes.utils"),
    *("dask_kubernetes._version", "dask_kubernetes.cli.cli"),
)


@pytest.mark.parametrize("path", [f"{module}:{name}" for module, names in SAME.items() for name in names])
def test_a_name_is_where_it_was(path: str) -> None:
    assert pkgutil.resolve_name(path)
    # As settings of workflow tools have it, with dots alone.
    assert pkgutil.resolve_name(path.replace(":", ".")) is pkgutil.resolve_name(path)


@pytest.mark.parametrize("path", [f"{module}:{name}" for module, names in DEPRECATED.items() for name in names])
def test_a_name_of_older_releases_is_where_it_was_and_says_where_it_is(path: str) -> None:
    with pytest.warns(DeprecationWarning, match=r"is deprecated: write `from \S+ import") as caught:
        found = pkgutil.resolve_name(path)
    words = str(caught[0].message).rpartition("`from ")[2].rstrip("`").split()
    assert found is getattr(importlib.import_module(words[0]), words[2])


@pytest.mark.parametrize("module", [name for name in (*SAME, *DEPRECATED) if "." in name])
def test_other_names_are_none(module: str) -> None:
    with pytest.raises(ImportError, match="no_such_name"):
        exec(f"from {module} import no_such_name")


@pytest.mark.parametrize("module", GONE)
def test_what_is_gone_is_documented(module: str) -> None:
    with pytest.raises(ImportError):
        importlib.import_module(module)
    assert f"`{module}`" in UPGRADING


PUBLISHED = [
    (module, name)
    for names in yaml.safe_load((Path(__file__).with_name("names.yaml")).read_text()).values()
    for module, public in names.items()
    for name in public or ("",)
]


def is_documented(module: str, name: str) -> bool:
    """Return whether the table of what is gone has the module, a package that it is in, or the name."""
    rows = "\n".join(re.findall(r"^\| (.*?) \| ", UPGRADING.partition("### Known limits")[2], re.MULTILINE))
    gone = re.sub(r" of `[^`]*`( or `[^`]*`)?", "", rows)
    parts = module.split(".")
    packages = (".".join(parts[:length]) for length in range(2, len(parts) + 1))
    return any(f"`{each}`" in gone for each in (*packages, name) if each)


@pytest.mark.filterwarnings("ignore:dask_kubernetes.* is deprecated:DeprecationWarning")
def test_every_public_name_of_earlier_releases_is_there_or_documented() -> None:
    gone = []
    for module, name in PUBLISHED:
        try:
            pkgutil.resolve_name(f"{module}:{name}" if name else module)
        except (ImportError, AttributeError):
            gone.append((module, name))
    assert [each for each in gone if not is_documented(*each)] == []
    assert len(gone) < len(PUBLISHED) - 40, "what programs use is there"


def test_the_classes_are_the_same_however_they_are_imported() -> None:
    operator = importlib.import_module("dask_kubernetes.operator")
    inner = importlib.import_module("dask_kubernetes.operator.kubecluster.kubecluster")
    assert operator.KubeCluster is inner.KubeCluster is operator.kubecluster.KubeCluster
    assert dask_kubernetes.KubeCluster is not operator.KubeCluster, "as it was in 2024"
    assert operator.KubeCluster.__module__ == inner.__name__


def test_the_warning_is_about_the_line_of_the_program() -> None:
    sys.modules[__name__ + ".old"] = old = type(sys)(__name__ + ".old")
    try:
        old.__getattr__ = moved(old.__name__, {"path": "sys"})  # type: ignore[method-assign]
        with pytest.warns(DeprecationWarning, match="write `from sys import path`") as caught:
            assert old.path is sys.path
        assert caught[0].filename == __file__
    finally:
        del sys.modules[old.__name__]
