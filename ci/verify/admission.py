"""Check what a real API server accepts and refuses of the CRDs, the charts and the examples, by dry runs.

    admission.py KUBECONFIG

Installs the CRDs, and tries everything else by dry run: every rendering of the charts, also with their examples, every
example manifest, and all of tests/charts/refused.yaml, which the server must refuse with the message given there. The
dry runs use a namespace that enforces the restricted Pod Security Standard and is deleted at the end. Uses kubectl and
helm of the PATH.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHARTS = sorted(path.parent for path in ROOT.glob("charts/*/Chart.yaml"))
CRDS = ROOT / "charts/dask-kubernetes-operator/files/crds"
EXAMPLES = sorted(ROOT.glob("tests/examples/*.yaml"))
REFUSED = ROOT / "tests/charts/refused.yaml"
NAMESPACE = "admission-check"
APPLY = ("apply", "--server-side", "--force-conflicts")


class Kubectl:
    """kubectl with one kubeconfig, in the namespace of this check."""

    def __init__(self, kubeconfig: str) -> None:
        self._kubeconfig = kubeconfig

    def __call__(self, *arguments: str, manifest: str = "") -> subprocess.CompletedProcess[str]:
        command = ["kubectl", f"--kubeconfig={self._kubeconfig}", f"--namespace={NAMESPACE}", *arguments]
        return subprocess.run(command, input=manifest, check=False, capture_output=True, text=True)

    def do(self, *arguments: str, manifest: str = "") -> str:
        done = self(*arguments, manifest=manifest)
        if done.returncode:
            raise SystemExit(f"kubectl {' '.join(arguments)} fails: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *arguments: str, manifest: str = "") -> None:
        self.do(*APPLY, *arguments, manifest=manifest)


@contextmanager
def restricted_namespace(kubectl: Kubectl) -> Iterator[None]:
    modes = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    kubectl.apply("--filename=-", manifest=json.dumps(_object("Namespace", NAMESPACE, labels=modes)))
    try:
        # Pods need it, and a bare API server does not create it.
        kubectl.apply("--filename=-", manifest=json.dumps(_object("ServiceAccount", "default")))
        yield
    finally:
        kubectl.do("delete", "namespace", NAMESPACE, "--wait=false")


def install_crds(kubectl: Kubectl) -> None:
    kubectl.apply(f"--filename={CRDS}")
    kubectl.do("wait", "--for=condition=Established", "--timeout=30s", f"--filename={CRDS}")


def renderings(kubectl: Kubectl) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the charts' manifests with each values file, for this API server's version."""
    version = json.loads(kubectl.do("version", "--output=json"))["serverVersion"]["gitVersion"]
    for chart in CHARTS:
        for values in (None, *sorted(chart.glob("ci/*-values.yaml")), *sorted(chart.glob("examples/*.yaml"))):
            command = ["helm", "template", "release", str(chart), "--kube-version", version, "--namespace", NAMESPACE]
            command += [f"--values={values}"] if values else []
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            manifests = [here(manifest) for manifest in yaml.load_all(text, yaml.CSafeLoader) if manifest]
            yield f"{chart.name} with {values.relative_to(chart) if values else 'its defaults'}", manifests


def examples() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for path in EXAMPLES:
        manifest = yaml.safe_load(path.read_text())
        manifest["metadata"].pop("namespace", None)
        yield str(path.relative_to(ROOT)), [manifest]


def not_accepted(kubectl: Kubectl) -> Iterator[str]:
    for name, manifests in (*renderings(kubectl), *examples()):
        # The server refuses a Pod whose ServiceAccount does not exist.
        for account in _accounts(manifests):
            kubectl.apply("--filename=-", manifest=json.dumps(account))
        text = "\n".join(map(json.dumps, manifests))
        answer = kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-", manifest=text
        )
        if answer.returncode or "Warning" in answer.stderr:
            yield f"{name}: {answer.stderr.strip()}"
        else:
            print(f"accepted: {name}, {len(manifests)} objects")


def _accounts(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the ServiceAccounts among manifests, and those that their Pods expect in their namespace."""
    yield from (manifest for manifest in manifests if manifest["kind"] == "ServiceAccount")
    pods = (manifest.get("spec", {}) for manifest in manifests if manifest["kind"] == "Pod")
    yield from (_object("ServiceAccount", pod["serviceAccountName"]) for pod in pods if "serviceAccountName" in pod)


def not_refused(kubectl: Kubectl, cases: list[dict[str, Any]]) -> Iterator[str]:
    for case in cases:
        answer = kubectl("create", "--dry-run=server", "--filename=-", manifest=json.dumps(case["manifest"]))
        if not answer.returncode:
            yield f"{case['case']}: was accepted, and should be refused with: {case['says']}"
        elif case["says"] not in answer.stderr:
            yield f"{case['case']}: was refused, but with: {answer.stderr.strip()}"
        else:
            print(f"refused: {case['case']}: {' '.join(answer.stderr.split())}")


def here(manifest: dict[str, Any]) -> dict[str, Any]:
    """Move a manifest into the namespace of this check, so that real objects are deleted with it."""
    if "namespace" in manifest["metadata"]:
        manifest["metadata"]["namespace"] = NAMESPACE
    return manifest


def _object(kind: str, name: str, labels: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "labels": dict(labels)}}


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        raise SystemExit("usage: admission.py KUBECONFIG")
    kubectl = Kubectl(arguments[0])
    install_crds(kubectl)
    with restricted_namespace(kubectl):
        problems = [*not_accepted(kubectl), *not_refused(kubectl, yaml.safe_load(REFUSED.read_text()))]
    print(*problems, sep="\n", file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
