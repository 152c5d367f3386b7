"""Attempts to gain permissions by Dask resources: the controller, with the chart's permissions, must not help."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.controller import Controller
from tests.support.helm import Helm
from tests.support.kube import CommandError, Kube, Manifest, eventually
from tests.support.manifests import ON_FAKE_NODES, dask_autoscaler, dask_cluster, dask_job
from tests.support.permissions import (
    USERS_ROLES,
    bind,
    installed_for,
    may,
    permitted,
    releasing,
    rendered,
    triples,
)

from dask_operator.resources import DASK, RULES

EVE, CLIENT = "eve", "client"
CLUSTERS = "daskclusters.kubernetes.dask.org"
ELSEWHERE = "default"
# Schedulers are on this machine; the log shows each lookup of a Service's name.
SITE = """
import socket, sys
from tests.support.loopback_schedulers import schedulers_are_here

schedulers_are_here()
resolve = socket.getaddrinfo

def resolved(host, *rest, **more):
    if "-scheduler" in str(host):
        print("LOOKED UP", host, file=sys.stderr, flush=True)
    return resolve(host, *rest, **more)

socket.getaddrinfo = resolved
"""


@pytest.fixture
def helm(kube: Kube) -> Iterator[Helm]:
    with releasing(kube) as helm:
        yield helm


@pytest.fixture
def operator(kube: Kube, helm: Helm, tmp_path: Path) -> Iterator[Controller]:
    """The controller with the chart's permissions, and EVE, who has Kubernetes' own role `edit` in the namespace."""
    kube.apply(*rendered(kube, helm, *USERS_ROLES))
    bind(kube, EVE, "edit")
    eventually(lambda: may(kube, EVE, "create", CLUSTERS), "edit has what is Dask's")
    with installed_for(kube, helm, tmp_path, site=SITE).started() as controller:
        yield controller


def _create(kube: Kube, user: str, *manifests: Manifest) -> None:
    kube.run("create", "--validate=false", "--filename", "-", "--as", user, stdin="\n".join(map(json.dumps, manifests)))


def _labels(cluster: str, component: str, **more: str) -> dict[str, str]:
    return {"dask.org/cluster-name": cluster, "dask.org/component": component, **more}


def test_edit_may_itself_do_whatever_the_operator_does_for_it(kube: Kube) -> None:
    bind(kube, EVE, "edit")
    of_operator = {rule for rule in RULES if rule[0] != DASK}
    assert ("", "pods", "create") in of_operator
    eventually(
        lambda: not of_operator - triples(permitted(kube, EVE, kube.namespace)),
        "edit permits whatever the operator may do to what is not Dask's",
    )


@pytest.mark.usefixtures("operator")
def test_templates_give_pods_labels_and_annotations_and_nothing_else(kube: Kube) -> None:
    """Try another namespace, another name, and owners whose deletion would delete the Pod."""
    bystander = {"apiVersion": "v1", "kind": "ConfigMap", "name": "bystander", "uid": "x"}
    chosen = {"namespace": ELSEWHERE, "name": "chosen", "ownerReferences": [bystander], "finalizers": ["a.example/b"]}
    cluster, job = dask_cluster("roaming", 1, pods=ON_FAKE_NODES), dask_job("roaming-job", 0, pods=ON_FAKE_NODES)
    for part in (cluster["spec"]["worker"], cluster["spec"]["scheduler"], job["spec"]["job"], job["spec"]["cluster"]):
        part["metadata"] = chosen
    _create(kube, EVE, cluster, job)
    kube.wait_for_workers("roaming", 1)
    eventually(lambda: kube.get("pod", "roaming-job-runner"), "the job's runner")
    for kind in ("pods", "services", "deployments", "daskworkergroups", "daskclusters"):
        for made in kube.objects(kind, "dask.org/cluster-name in (roaming, roaming-job)"):
            meta = made["metadata"]
            assert meta["name"].startswith("roaming")
            assert "finalizers" not in meta
            assert "bystander" not in {owner["name"] for owner in meta["ownerReferences"]}
    elsewhere = kube.run("--namespace", ELSEWHERE, "get", "all", "--selector", "dask.org/cluster-name=roaming")
    assert elsewhere == ""


@pytest.mark.usefixtures("operator")
def test_what_belongs_to_somebody_else_is_neither_changed_nor_deleted(kube: Kube) -> None:
    """Try every name and label that looks like the cluster's."""
    kube.run("create", "configmap", "bystander")
    uid = (kube.get("configmap", "bystander") or {})["metadata"]["uid"]
    owned = {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "bystander", "uid": uid}]}
    worker = _labels("plain", "worker", **{"dask.org/workergroup-name": "plain-default"})
    foreign = [
        _pod("posing", owned, worker),
        _pod("taken-job-runner", {}, {}),
        _service("taken-scheduler", owned, _labels("taken", "scheduler")),
        _service("plain-scheduler", {}, {}),
        _deployment("taken-scheduler", owned, _labels("taken", "scheduler")),
        _deployment("posing", owned, worker),
    ]
    kube.apply(*foreign)
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in foreign]
    eventually(lambda: all(pod["status"].get("podIP") for pod in kube.objects("pods")), "they are settled")
    before = [_state(kube, *name) for name in names]

    # Workers without a node are deleted at once.
    clusters = [dask_cluster(name, 2, pods={"nodeSelector": {"no": "node"}}) for name in ("taken", "plain")]
    _create(kube, EVE, *clusters, dask_job("taken-job", 0, pods=ON_FAKE_NODES))
    for name in ("taken", "plain"):
        assert "exists and belongs to something else" in kube.wait_for_condition(
            "daskcluster", name, "Degraded", "NameTaken"
        )
    kube.wait_for_condition("daskjob", "taken-job", "Degraded", "NameTaken")
    eventually(lambda: len(kube.workers("plain-default")) == 3, "two workers beside the one that poses as one")
    kube.run("scale", "--replicas=0", "daskworkergroup", "plain-default", "--as", EVE)
    edit = [{"op": "replace", "path": "/spec/scheduler/spec/containers/0/image", "value": "other:1"}]
    kube.run("patch", "daskcluster", "taken", "--type=json", "--patch", json.dumps(edit), "--as", EVE)
    eventually(lambda: len(kube.workers("plain-default")) == 1, "its own workers are gone")
    eventually(lambda: _is_seen(kube, "taken"), "the controller has seen the edit")
    kube.run("delete", "daskcluster,daskjob", "--all", "--as", EVE)
    eventually(lambda: not kube.names("daskworkergroups"), "what the clusters own is gone")
    assert [_state(kube, *name) for name in names] == before


def _is_seen(kube: Kube, cluster: str) -> bool:
    """Return whether a cluster's status is about its present spec."""
    found = kube.get("daskcluster", cluster) or {}
    return bool(found["status"].get("observedGeneration") == found["metadata"]["generation"])


def _state(kube: Kube, kind: str, name: str) -> dict[str, Any]:
    """Return the parts of an object that belong to its owner."""
    found = kube.get(kind, name) or {"metadata": {}}
    meta = {key: found["metadata"].get(key) for key in ("uid", "labels", "ownerReferences", "deletionTimestamp")}
    ours = {key for key in found["metadata"].get("annotations", {}) if key.startswith("kubernetes.dask.org/")}
    return {"kind": kind, "name": name, "spec": found.get("spec"), "ours": ours, **meta}


def _pod(name: str, owner: Manifest, labels: Manifest) -> dict[str, Any]:
    spec = {"containers": [{"name": "a", "image": "a"}], **ON_FAKE_NODES}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels, **owner}, "spec": spec}


def _service(name: str, owner: Manifest, labels: Manifest) -> dict[str, Any]:
    spec = {"ports": [{"port": 80}], "selector": {"app": "bystander"}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": labels, **owner}, "spec": spec}


def _deployment(name: str, owner: Manifest, labels: Manifest) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "a"}}, "template": template}
    meta = {"name": name, "labels": labels, **owner}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}


def test_no_name_of_a_service_leads_the_controller_anywhere(kube: Kube, operator: Controller) -> None:
    """Try an ExternalName, which would lead out of the namespace, where its user has no access."""
    leading = {"type": "ExternalName", "externalName": "elsewhere.example.com"}
    own = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "lured-scheduler"}, "spec": leading}
    clusters = {name: dask_cluster(name, 1, pods=ON_FAKE_NODES) for name in ("external", "headless", "lured")}
    clusters["external"]["spec"]["scheduler"]["service"] |= leading
    clusters["headless"]["spec"]["scheduler"]["service"] |= {"clusterIP": "None"}
    _create(kube, EVE, own, *clusters.values(), *(dask_autoscaler(name, name, 1, 2) for name in clusters))
    for name in clusters:
        said = kube.wait_for_condition("daskautoscaler", name, "ScalingActive", "SchedulerUnreachable")
        (scheduler,) = kube.objects("pods", f"dask.org/component=scheduler,dask.org/cluster-name={name}")
        assert f"http://{scheduler['status']['podIP']}:8787/" in said
    assert "LOOKED UP" not in operator.log.read_text()


@pytest.mark.usefixtures("operator")
def test_who_may_write_dask_resources_alone_runs_pods_as_any_account_of_the_namespace(kube: Kube, helm: Helm) -> None:
    """Check the warning in docs/security.md for administrators who grant it."""
    of_client = ("--set", "scope=own", "--set", "rbac.clientRole.create=true")
    kube.apply(*rendered(kube, helm, *of_client, "--show-only", "templates/users/client-role.yaml"))
    kube.run("create", "rolebinding", CLIENT, "--role=dask-cluster-role", f"--user={CLIENT}")
    kube.run("create", "serviceaccount", "powerful")
    eventually(lambda: may(kube, CLIENT, "create", CLUSTERS), "the role is in force")
    with pytest.raises(CommandError, match='cannot create resource "pods"'):
        _create(kube, CLIENT, _pod("mine", {}, {}))
    powerful = ON_FAKE_NODES | {"serviceAccountName": "powerful"}
    _create(kube, CLIENT, dask_cluster("mine", 1, pods=powerful))
    eventually(lambda: kube.workers("mine-default"), "the worker")
    assert kube.workers("mine-default")[0]["spec"]["serviceAccountName"] == "powerful"
