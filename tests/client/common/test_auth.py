"""Credentials as arguments: the usual ones are accepted, and others are no silent choice of another Kubernetes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dask_kubernetes.common.auth import ClusterAuth, InCluster, KubeAuth, KubeConfig
from dask_kubernetes.exceptions import ValidationError


def test_the_usual_ones_are_accepted() -> None:
    assert [InCluster, KubeConfig] == ClusterAuth.DEFAULT
    for auth in (ClusterAuth.DEFAULT, InCluster(), KubeConfig()):
        ClusterAuth.load_first(auth)


@pytest.mark.parametrize(
    "make",
    [
        lambda: KubeConfig(config_file="/other"),
        lambda: KubeConfig(context="other"),
        lambda: KubeAuth("https://other:6443", api_key={"authorization": "Bearer x"}),
    ],
)
def test_others_are_refused(make: Callable[[], ClusterAuth]) -> None:
    with pytest.raises(ValidationError, match="KUBECONFIG"):
        make()
