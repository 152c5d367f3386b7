"""Templates from every source that programs use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import dask.config
import pytest
from tests.client.classic.objects import pod

from dask_kubernetes.classic.pods import make_pod_from_dict
from dask_kubernetes.classic.templates import configured_template, pod_template
from dask_kubernetes.exceptions import ValidationError


@dataclass
class Container:
    """An object of a generated Kubernetes client."""

    attribute_map: ClassVar = {"image": "image", "image_pull_policy": "imagePullPolicy", "args": "args"}
    image: str
    image_pull_policy: str
    args: list[str] | None = None


@dataclass
class Spec:
    attribute_map: ClassVar = {"containers": "containers", "node_selector": "nodeSelector"}
    containers: list[Container]
    node_selector: dict[str, str]


@dataclass
class Pod:
    attribute_map: ClassVar = {"api_version": "apiVersion", "kind": "kind", "spec": "spec"}
    spec: Spec
    api_version: str = "v1"
    kind: str = "Pod"

    def to_dict(self) -> dict[str, Any]:
        return {"spec": {"containers": [{"image_pull_policy": "Always"}]}}


@dataclass
class Wrapped:
    """An object of other Kubernetes clients."""

    raw: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.raw


def test_objects_of_kubernetes_clients() -> None:
    expected = {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {
            "containers": [{"image": "dask:1", "imagePullPolicy": "Always", "name": "dask-0"}],
            "nodeSelector": {"node_pool": "x"},
        },
    }
    assert pod_template(Pod(Spec([Container("dask:1", "Always")], {"node_pool": "x"}))) == expected
    assert pod_template(Wrapped(expected)) == expected


def test_a_template_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "worker.yaml"
    file.write_text("spec: {containers: [{image: '${REGISTRY}/dask:1', args: [$(DASK_SCHEDULER_ADDRESS)]}]}")
    monkeypatch.setenv("REGISTRY", "example.com")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    expected = make_pod_from_dict(pod(image="example.com/dask:1", args=["$(DASK_SCHEDULER_ADDRESS)"]))
    assert pod_template(file) == pod_template(str(file)) == expected
    both = {"kubernetes.worker-template-path": "{FOLDER}/worker.yaml", "kubernetes.worker-template": pod()}
    with dask.config.set(both):
        assert configured_template() == expected


def test_a_configured_template() -> None:
    with dask.config.set({"kubernetes.worker-template": pod()}):
        assert configured_template() == make_pod_from_dict(pod())
    with pytest.raises(ValidationError, match="There is no pod template"):
        configured_template()
    with (
        dask.config.set({"kubernetes.worker-template-path": "{NO_SUCH_VARIABLE}/x"}),
        pytest.raises(ValidationError, match="NO_SUCH_VARIABLE"),
    ):
        configured_template()


@pytest.mark.parametrize(("text", "problem"), [(None, "cannot be read"), ("a: [", "is not a YAML file")])
def test_files_that_are_no_templates(text: str | None, problem: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "pod.yaml").write_text(text)
    with pytest.raises(ValidationError, match=problem):
        pod_template(tmp_path / "pod.yaml")
