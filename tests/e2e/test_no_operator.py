"""The error of `KubeCluster` if the operator was never installed, on a cluster without its CRDs."""

from __future__ import annotations

import pytest
from tests.support.kube import Kube

from dask_kubernetes.exceptions import OperatorNotInstalledError
from dask_kubernetes.operator import CreateMode, KubeCluster


@pytest.fixture(autouse=True)
def operator() -> None:
    """No operator, in place of the fixture that installs it."""


@pytest.mark.parametrize("mode", CreateMode)
def test_an_operator_that_is_not_installed(kube: Kube, mode: CreateMode) -> None:
    with pytest.raises(OperatorNotInstalledError, match=r"does not know DaskClusters: .*`helm install dask-operator"):
        KubeCluster(name="mine", namespace=kube.namespace, create_mode=mode, resource_timeout=240, quiet=True)
