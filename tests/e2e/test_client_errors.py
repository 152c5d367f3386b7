"""Errors of `KubeCluster` outside the cluster, each without leftovers."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.included import ROOT
from tests.e2e.conftest import OPERATOR_NAMESPACE, Image, put_quota
from tests.support.documents import blocks
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster, worker_group
from tests.support.server import free_port

from dask_kubernetes.exceptions import (
    ClusterExistsError,
    ClusterNotFoundError,
    CrashLoopBackOffError,
    CredentialsError,
    DaskKubernetesError,
    KubernetesUnreachableError,
    NamespaceNotFoundError,
    NotPermittedError,
    OperatorNotRespondingError,
    SchedulerStartupError,
    SpecRefusedError,
    ValidationError,
    WorkerGroupExistsError,
    WorkerGroupNotFoundError,
    WorkersNotReadyError,
)
from dask_kubernetes.operator import KubeCluster, make_cluster_spec

# Each waits for its resource_timeout at most, and for its own deletions afterwards.
pytestmark = pytest.mark.filterwarnings("ignore::distributed.versions.VersionMismatchWarning")
SHORT = 6
# For programs that succeed in the end.
LONG = 240
# For messages about progress, which takes longer on a busy machine.
EARLY = (SchedulerStartupError, OperatorNotRespondingError, KubernetesUnreachableError)
CONTROLLER = "app.kubernetes.io/name=dask-kubernetes-operator"
NO_COUNTS: list[Any] = [-1, 1.5, "two", True]
NAMES = ["Mine", "my_cluster", "-mine", "mine.", "x" * 54, "", "my cluster"]


@dataclass(frozen=True)
class User:
    """A user whose Python makes clusters in a namespace."""

    kube: Kube
    image: str

    def cluster(self, **options: Any) -> KubeCluster:
        defaults: dict[str, Any] = {
            "name": "mine",
            "namespace": self.kube.namespace,
            "image": self.image,
            "n_workers": 0,
        }
        return KubeCluster(**(defaults | {"resource_timeout": LONG, "quiet": True} | options))

    def refused(self, error: type[DaskKubernetesError], *words: str, **options: Any) -> None:
        """Fail unless making a cluster raises exactly this error with these words, and leaves nothing behind."""
        given = options.pop("resource_timeout", None)
        for seconds in (given,) if given else (SHORT, 10 * SHORT, LONG):
            there, here = self._there(), _here()
            raised, message = _raised(partial(self.cluster, resource_timeout=seconds, **options))
            eventually(lambda there=there: self._there() == there, "nothing is left of the cluster")  # type: ignore[misc]
            nothing_is_left_here(here)
            if _fits(raised, message, error, words) or raised not in EARLY:
                break
        assert _fits(raised, message, error, words), f"{raised.__name__}: {message}"

    def _there(self) -> dict[str, set[str]]:
        return {kind: self.kube.names(kind) for kind in ("daskclusters", "pods", "services")}


def says(error: type[DaskKubernetesError], *words: str, of: Callable[[], Any]) -> None:
    raised, message = _raised(of)
    assert _fits(raised, message, error, words), f"{raised.__name__}: {message}"


def _raised(of: Callable[[], Any]) -> tuple[type[DaskKubernetesError], str]:
    """Return the type and the message of the error that a function raises."""
    with pytest.raises(DaskKubernetesError) as caught:
        of()
    return type(caught.value), str(caught.value)


def _fits(
    raised: type[DaskKubernetesError], message: str, error: type[DaskKubernetesError], words: Sequence[str]
) -> bool:
    return raised is error and all(word in message for word in words)


def nothing_is_left_here(before: tuple[set[threading.Thread], set[str]]) -> None:
    """Wait until no new thread and no new port is left."""

    def look() -> bool:
        threads, ports = _here()
        return threads <= before[0] and ports <= before[1]

    eventually(look, "neither a thread nor a port is left here")


def _here() -> tuple[set[threading.Thread], set[str]]:
    """Return the threads of this process, and its listening ports."""
    threads = {thread for thread in threading.enumerate() if thread.name.startswith("IO loop")}
    return threads, _listening()


def _listening() -> set[str]:
    mine = set()
    for file in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            mine.add(str(file.readlink()))
    rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
    listens = "0A"
    return {row[1] for row in rows if row[3] == listens and f"socket:[{row[9]}]" in mine}


@pytest.fixture
def user(kube: Kube, dask_image: Image) -> User:
    return User(kube, str(dask_image))


@pytest.fixture
def kubeconfig(kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that makes the client use the tests' kubeconfig with changes, or none at all."""
    text = kube.run("config", "view", "--raw", "--minify", "--flatten", "--output", "json")
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))

    def write(*, cluster: Mapping[str, Any] | None = None, user: Mapping[str, Any] | None = None, **top: Any) -> None:
        config: dict[str, Any] = json.loads(text) | top
        config["clusters"][0]["cluster"] |= cluster or {}
        config["users"][0]["user"] = config["users"][0]["user"] if user is None else dict(user)
        path.write_text(json.dumps(config))

    return write


def test_without_a_kubeconfig(user: User, kubeconfig: Callable[..., None]) -> None:
    user.refused(CredentialsError, os.environ["KUBECONFIG"], "KUBECONFIG names another file")


def test_a_context_that_is_not_there(user: User, kubeconfig: Callable[..., None]) -> None:
    kubeconfig(**{"current-context": "nowhere"})
    user.refused(CredentialsError, "nowhere", "kubectl config get-contexts")


def test_a_token_that_is_not_accepted(user: User, kubeconfig: Callable[..., None]) -> None:
    kubeconfig(user={"token": "expired"})
    user.refused(CredentialsError, "does not accept your credentials", "log in again")


def test_an_api_server_that_refuses_connections(user: User, kubeconfig: Callable[..., None]) -> None:
    server = f"https://127.0.0.1:{free_port()}"
    kubeconfig(cluster={"server": server})
    user.refused(KubernetesUnreachableError, server, "check your network and your kubeconfig")


def test_an_api_server_that_never_answers(user: User, kubeconfig: Callable[..., None]) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        server = f"https://127.0.0.1:{silent.getsockname()[1]}"
        kubeconfig(cluster={"server": server})
        user.refused(KubernetesUnreachableError, server, "check your network and your kubeconfig")


@dataclass(frozen=True)
class Account:
    """A ServiceAccount whose token is in the kubeconfig."""

    kube: Kube

    def may(self, rules: list[dict[str, Any]]) -> None:
        api = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "user"}}
        subject = {"kind": "ServiceAccount", "name": "user", "namespace": self.kube.namespace}
        role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "user"}
        self.kube.apply(
            api | {"kind": "Role", "rules": rules},
            api | {"kind": "RoleBinding", "roleRef": role, "subjects": [subject]},
        )
        eventually(lambda: all(map(self._is_permitted, rules)), "the permissions are in force")

    def _is_permitted(self, rule: dict[str, Any]) -> bool:
        user, server = f"system:serviceaccount:{self.kube.namespace}:user", self.kube.server
        (group,) = rule["apiGroups"]
        names = (resource.partition("/") for resource in rule["resources"])
        return all(
            server.may(user, verb, server.resource(f"{name}.{group}" if group else name), self.kube.namespace, part)
            for name, _, part in names
            for verb in rule["verbs"]
        )


@pytest.fixture
def account(kube: Kube, kubeconfig: Callable[..., None]) -> Account:
    kube.run("create", "serviceaccount", "user")
    kubeconfig(user={"token": kube.run("create", "token", "user").strip()})
    return Account(kube)


def documented(role: str) -> list[dict[str, Any]]:
    """Return the rules of a role in docs/python-rbac.md."""
    manifests = (yaml.safe_load(block.text) for block in blocks(ROOT / "docs" / "python-rbac.md", "yaml"))
    (rules,) = [each["rules"] for each in manifests if each["metadata"]["name"] == role and "rules" in each]
    return list(rules)


def test_one_who_may_do_nothing(user: User, account: Account) -> None:
    user.refused(NotPermittedError, 'cannot get resource "daskclusters"', "a Role and its RoleBinding")


def test_one_who_may_not_make_clusters(user: User, account: Account) -> None:
    account.may([{"apiGroups": ["kubernetes.dask.org"], "resources": ["daskclusters"], "verbs": ["get", "list"]}])
    user.refused(NotPermittedError, 'cannot create resource "daskclusters"', "a Role and its RoleBinding")


def test_one_who_may_not_see_pods(user: User, account: Account) -> None:
    account.may([rule for rule in documented("dask-cluster-role") if "pods" not in rule["resources"]])
    user.refused(NotPermittedError, 'cannot list resource "pods"')


def test_one_who_may_not_forward_ports(user: User, account: Account) -> None:
    account.may(documented("dask-cluster-role"))
    user.refused(NotPermittedError, "pods/portforward", resource_timeout=LONG)
    account.may([*documented("dask-cluster-role"), *documented("dask-port-forward")])
    with user.cluster() as cluster:
        assert cluster.scheduler_info["id"]


def test_a_namespace_that_is_not_there(user: User) -> None:
    user.refused(
        NamespaceNotFoundError, '"no-such-place" not found', "kubectl create namespace", namespace="no-such-place"
    )


def test_a_namespace_that_is_being_deleted(user: User) -> None:
    # Not the test's namespace, which must still exist for its deletion at the end.
    kube = replace(user.kube, namespace=f"{user.kube.namespace}-old")
    kube.create_namespace()
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.com/held"]}}
    kube.apply(held)
    kube.delete_namespace()
    try:
        replace(user, kube=kube).refused(NamespaceNotFoundError, kube.namespace, "being terminated", "name another")
    finally:
        kube.run("patch", "configmap", "held", "--type=merge", "--patch", '{"metadata": {"finalizers": null}}')


def stop_operator(kube: Kube, replicas: int) -> None:
    where = ("--namespace", OPERATOR_NAMESPACE)
    kube.run(*where, "scale", "deployment", "--selector", CONTROLLER, f"--replicas={replicas}")

    operators = replace(kube, namespace=OPERATOR_NAMESPACE)
    eventually(lambda: len(operators.names("pods", CONTROLLER)) == replicas, f"{replicas} controllers run")
    if replicas:
        kube.run(*where, "rollout", "status", "deployment", "--selector", CONTROLLER)


@contextmanager
def no_operator(kube: Kube) -> Iterator[None]:
    stop_operator(kube, 0)
    try:
        yield
    finally:
        stop_operator(kube, 1)


@pytest.mark.alone
def test_an_operator_that_does_not_run(user: User) -> None:
    with user.cluster() as cluster:
        # Until its operator has reported, the message is about the objects that exist.
        user.kube.wait_for_workers("mine", 0)
        with no_operator(user.kube):
            user.refused(OperatorNotRespondingError, "No operator has taken up", "see that it runs", name="other")
            cluster.scale(1)
            says(
                WorkersNotReadyError,
                "0 of 1 workers",
                "The operator has not acted",
                "see that it runs",
                of=lambda: cluster.wait_for_workers(1, timeout=SHORT),
            )
        cluster.wait_for_workers(1, timeout=LONG)


def test_a_name_that_another_cluster_has(user: User) -> None:
    user.refused(ClusterNotFoundError, "no DaskCluster mine", "kubectl get daskclusters", create_mode="CONNECT_ONLY")
    with user.cluster() as cluster:
        user.refused(ClusterExistsError, "mine", "KubeCluster.from_name('mine'", create_mode="CREATE_ONLY")
        with user.cluster(create_mode="CREATE_OR_CONNECT") as same:
            assert same.scheduler_info["id"] == cluster.scheduler_info["id"]
        with user.cluster(create_mode="CONNECT_ONLY") as same:
            assert same.scheduler_info["id"] == cluster.scheduler_info["id"]
        assert user.kube.names("daskclusters") == {"mine"}
    assert user.kube.names("daskclusters") == set()


def test_a_name_whose_service_is_somebody_elses(user: User) -> None:
    user.kube.run("create", "service", "clusterip", "mine-scheduler", "--tcp=80")
    user.refused(SchedulerStartupError, "NameTaken", "Service mine-scheduler", "delete or rename")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_cluster_can_have(user: User, name: str) -> None:
    user.refused(ValidationError, repr(name), "1 to 53 lower-case letters", name=name)


def test_a_namespace_whose_policy_refuses_the_pods(user: User) -> None:
    kube = user.kube
    kube.run("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    tried = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "tried"},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    eventually(lambda: kube.is_refused(tried, "violates PodSecurity"), "the policy is in force")
    user.refused(SchedulerStartupError, "violates PodSecurity", "runAsNonRoot", restricted=False)


def test_a_spec_that_the_schema_refuses(user: User) -> None:
    spec = make_cluster_spec("mine", user.image)
    spec["spec"]["worker"]["replicas"] = "many"
    user.refused(SpecRefusedError, "spec.worker.replicas", "must be of type integer", custom_cluster_spec=spec)
    user.refused(SpecRefusedError, "spec.idleTimeout", custom_cluster_spec=with_spec(user.image, idleTimeout=-1))


def with_spec(image: str, **fields: Any) -> dict[str, Any]:
    spec = make_cluster_spec("mine", image)
    return spec | {"spec": spec["spec"] | fields}


def test_a_spec_that_a_policy_refuses(user: User) -> None:
    kube, message = user.kube, "clusters need a cost centre, see the wiki"
    with admission_policy(kube, message):
        user.refused(SpecRefusedError, message)


@contextmanager
def admission_policy(kube: Kube, message: str) -> Iterator[None]:
    """Install a policy that refuses DaskClusters in the namespace."""
    api, name = "admissionregistration.k8s.io/v1", kube.namespace
    rule = {"apiGroups": ["kubernetes.dask.org"], "apiVersions": ["*"], "resources": ["daskclusters"]}
    rules = {"resourceRules": [rule | {"operations": ["CREATE"]}]}
    where = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
    policy = {"matchConstraints": rules, "validations": [{"expression": "false", "message": message}]}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": where}
    objects = [
        {"apiVersion": api, "kind": kind, "metadata": {"name": name}, "spec": spec}
        for kind, spec in (("ValidatingAdmissionPolicy", policy), ("ValidatingAdmissionPolicyBinding", binding))
    ]
    kube.apply(*objects)
    try:
        eventually(lambda: kube.is_refused(dask_cluster("mine", 0), message), "the policy is in force")
        yield
    finally:
        kube.run("delete", "validatingadmissionpolicies,validatingadmissionpolicybindings", name)


def test_an_image_that_does_not_exist(user: User) -> None:
    image = "localhost/no-such-image:1"
    user.refused(SchedulerStartupError, "cannot pull image", image, image=image)


def test_a_scheduler_that_crashes(user: User) -> None:
    spec = make_cluster_spec("mine", user.image)
    (container,) = spec["spec"]["scheduler"]["spec"]["containers"]
    container["args"] = ["python", "-c", "print('no module named frobnicate'); raise SystemExit(3)"]
    user.refused(
        CrashLoopBackOffError, "exit code 3", "Its log ends with:\nno module named frobnicate", custom_cluster_spec=spec
    )


def test_resources_that_no_node_has(user: User) -> None:
    user.refused(SchedulerStartupError, "cannot be scheduled", "Insufficient cpu", resources={"cpu": 1000})


def test_a_quota_that_is_full(user: User) -> None:
    put_quota(user.kube, "none", 0)
    user.refused(SchedulerStartupError, "exceeded quota: none", "pods=0")


def test_workers_for_whom_a_quota_has_no_room(user: User) -> None:
    put_quota(user.kube, "small", 2)
    with user.cluster(n_workers=3) as cluster:
        cluster.wait_for_workers(1, timeout=LONG)
        user.kube.wait_for_condition("daskworkergroup", "mine-default", "Degraded", "QuotaExceeded")
        few = partial(cluster.wait_for_workers, 3, timeout=2 * SHORT)
        says(WorkersNotReadyError, "1 of 3 workers", "exceeded quota: small", "raise the quota", of=few)


def test_a_secret_that_is_not_there(user: User) -> None:
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "no-such-secret", "key": "token"}}}]
    user.refused(SchedulerStartupError, 'secret "no-such-secret" not found', env=env)


def test_a_file_that_has_no_cluster(user: User, tmp_path: Path) -> None:
    missing, text, other = tmp_path / "missing.yaml", tmp_path / "text.yaml", tmp_path / "other.yaml"
    text.write_text("{not: [yaml")
    other.write_text(json.dumps(worker_group("group", "mine", 1)))
    user.refused(ValidationError, str(missing), "No such file", custom_cluster_spec=str(missing))
    user.refused(ValidationError, str(text), "not a YAML file", custom_cluster_spec=str(text))
    user.refused(ValidationError, str(other), "kind: DaskCluster", custom_cluster_spec=str(other))


@pytest.mark.parametrize("number", [*NO_COUNTS, 10**9])
def test_a_number_of_workers_that_cannot_be(user: User, number: Any) -> None:
    user.refused(ValidationError, "n_workers", repr(number), n_workers=number)


def test_a_port_that_is_in_use(user: User) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        user.refused(
            ValidationError,
            f"port {port} of this machine",
            "in use",
            scheduler_forward_port=port,
            resource_timeout=LONG,
        )


def test_slips_with_a_cluster_that_runs(user: User) -> None:
    with user.cluster() as cluster:
        eventually(lambda: user.kube.get("daskworkergroup", "mine-default"), "it has its default group")
        for number in NO_COUNTS:
            said, group = f"is {number!r}", partial(cluster.add_worker_group, "more")
            says(ValidationError, said, of=partial(cluster.scale, number))
            says(ValidationError, said, of=partial(group, n_workers=number))
            says(ValidationError, "minimum", said, of=partial(cluster.adapt, minimum=number))
            says(ValidationError, "maximum", said, of=partial(cluster.adapt, maximum=number))
        none: Any = None
        says(ValidationError, "is None", of=partial(cluster.scale, none))
        for number in (10**9, 2**31):
            says(ValidationError, "at most 10000", of=partial(cluster.scale, number))
            says(ValidationError, "at most 10000", of=partial(group, n_workers=number))
        says(SpecRefusedError, "spec.maximum", of=partial(cluster.adapt, maximum=2**31))
        says(ValidationError, "minimum is 3 and maximum is 2", of=lambda: cluster.adapt(minimum=3, maximum=2))
        assert user.kube.names("daskautoscalers") == set()
        cluster.add_worker_group("more", n_workers=0)
        says(WorkerGroupExistsError, "mine-more", "delete_worker_group", of=lambda: cluster.add_worker_group("more"))
        says(ValidationError, "'No_Group'", of=lambda: cluster.add_worker_group("No_Group"))
        known = "it has default, more"
        says(WorkerGroupNotFoundError, "'fewer'", known, of=lambda: cluster.scale(1, worker_group="fewer"))
        says(WorkerGroupNotFoundError, "'fewer'", known, of=lambda: cluster.delete_worker_group("fewer"))
        assert user.kube.names("daskworkergroups") == {"mine-default", "mine-more"}


def test_a_cluster_that_somebody_deletes(user: User) -> None:
    here = _here()
    with user.cluster() as cluster:
        user.kube.run("delete", "daskcluster", "mine")
        gone = (ClusterNotFoundError, "no DaskCluster mine")
        says(*gone, of=lambda: cluster.scale(1))
        says(*gone, of=lambda: cluster.adapt(minimum=1))
        says(*gone, of=lambda: cluster.add_worker_group("more"))
        says(*gone, of=lambda: cluster.delete_worker_group("default"))
        says(*gone, of=lambda: cluster.wait_for_workers(1, timeout=SHORT))
        eventually(lambda: not user.kube.names("pods"), "nothing is left whose log could be read")
        says(*gone, of=cluster.get_logs)
    nothing_is_left_here(here)
    says(ClusterNotFoundError, "mine is closed", "create another", of=lambda: cluster.scale(1))


def test_a_cluster_that_somebody_makes_anew(user: User) -> None:
    kube = user.kube
    with user.cluster():
        kube.run("delete", "daskcluster", "mine")
        kube.apply(dask_cluster("mine", 0, image=user.image))
        theirs = kube.get("daskcluster", "mine") or {}
    left = kube.get("daskcluster", "mine") or {}
    assert left["metadata"]["uid"] == theirs["metadata"]["uid"]
    assert "deletionTimestamp" not in left["metadata"]
