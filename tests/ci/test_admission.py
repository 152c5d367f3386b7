"""The admission check, with a kubectl that gives prepared answers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from ci.verify import admission

CASE = {"case": "a bad name", "says": "may have at most", "manifest": {"kind": "DaskCluster"}}


class Answering(admission.Kubectl):
    """A kubectl that records requests, and gives the same answer to each."""

    def __init__(self, returncode: int = 0, stdout: str = "", stderr: str = "") -> None:
        super().__init__("kubeconfig")
        self.asked: list[tuple[str, ...]] = []
        self._answer = subprocess.CompletedProcess([], returncode, stdout, stderr)

    def __call__(self, *arguments: str, manifest: str = "") -> subprocess.CompletedProcess[str]:
        self.asked.append(arguments)
        return self._answer


@pytest.fixture(autouse=True)
def rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    account: dict[str, Any] = {"kind": "ServiceAccount", "metadata": {"name": "a"}}
    monkeypatch.setattr(admission, "renderings", lambda _: iter([("a chart", [account, {"kind": "Pod"}])]))
    monkeypatch.setattr(admission, "examples", lambda: iter([]))


def test_refusal_with_the_sentence_is_what_is_wanted() -> None:
    refusing = Answering(returncode=1, stderr="metadata.name: may have at most 53 characters")
    assert list(admission.not_refused(refusing, [CASE])) == []
    assert all("--dry-run=server" in asked for asked in refusing.asked)


def test_refusal_for_another_reason_is_a_problem() -> None:
    (problem,) = admission.not_refused(Answering(returncode=1, stderr="no such kind"), [CASE])
    assert problem == "a bad name: was refused, but with: no such kind"


def test_acceptance_of_what_is_wrong_is_a_problem() -> None:
    (problem,) = admission.not_refused(Answering(), [CASE])
    assert problem == "a bad name: was accepted, and should be refused with: may have at most"


def test_acceptance_is_what_is_wanted_and_only_service_accounts_are_made() -> None:
    accepting = Answering()
    assert list(admission.not_accepted(accepting)) == []
    assert [asked for asked in accepting.asked if "--dry-run=server" not in asked] == [
        (*admission.APPLY, "--filename=-")
    ]


def test_warning_is_a_problem() -> None:
    (problem,) = admission.not_accepted(Answering(stderr="Warning: would violate PodSecurity"))
    assert problem == "a chart: Warning: would violate PodSecurity"


@pytest.mark.parametrize("leave", [lambda: None, lambda: pytest.fail("inside")], ids=["well", "ill"])
def test_namespace_goes_however_the_check_ends(leave: Callable[[], None]) -> None:
    kubectl = Answering()
    try:
        with admission.restricted_namespace(kubectl):
            leave()
    except pytest.fail.Exception:
        pass
    assert kubectl.asked[-1] == ("delete", "namespace", admission.NAMESPACE, "--wait=false")


def test_what_kubectl_cannot_do_is_said() -> None:
    with pytest.raises(SystemExit, match=r"kubectl apply .* fails: no such host"):
        Answering(returncode=1, stderr="no such host").apply("--filename=x")


def test_what_is_for_another_namespace_is_asked_for_that_of_the_check() -> None:
    assert admission.here({"metadata": {"namespace": "default"}}) == {"metadata": {"namespace": admission.NAMESPACE}}
    assert admission.here({"metadata": {"name": "cluster-wide"}}) == {"metadata": {"name": "cluster-wide"}}
