"""A cluster with TLS: nobody computes there without its certificate, and no result is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.e2e.conftest import OPERATOR_NAMESPACE, Image, client_of, operator_with, put_tls_secret, tls_env
from tests.e2e.release import EXAMPLES, Release
from tests.e2e.session import Session
from tests.support.dask import make_certificates
from tests.support.helm import Helm
from tests.support.kube import Kube

NAME = "my-cluster"
RESULTS = 60
TLS = ("--values", str(EXAMPLES / "tls.yaml"), "--set", "worker.replicas=4")
# The only part of the scheduler's unencrypted HTTP: its health, for kubelet.
ONLY_HEALTH = (
    "--set-json",
    "scheduler.env.DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES=\"['distributed.http.health']\"",
    "--set",
    "scheduler.extraArgs={--no-dashboard}",
)
CONNECT = """
import sys
from distributed import Client
try:
    with Client(sys.argv[1], timeout="180s") as client:
        print(client.submit(sum, range(1000)).result(timeout=180))
except Exception as error:
    print(type(error).__name__, error, error.__cause__)
"""
# Without a certificate of its own, and with any of the scheduler's; the answer to the first byte decides.
HANDSHAKE = """
import socket, ssl, sys
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with context.wrap_socket(socket.create_connection((sys.argv[1], 8786), timeout=180)) as connection:
    try:
        print(connection.read(1))
    except ssl.SSLError as error:
        print(error.reason)
"""


@pytest.fixture
def release(kube: Kube, helm: Helm, dask_image: Image, certificates: Path) -> Release:
    put_tls_secret(kube, f"{NAME}-tls", certificates)
    return Release(kube, helm, dask_image, NAME)


@pytest.fixture
def operator_with_certificate(kube: Kube, helm: Helm, certificates: Path) -> Iterator[None]:
    operators = replace(kube, namespace=OPERATOR_NAMESPACE)
    put_tls_secret(operators, NAME, certificates)
    volume = [{"name": "dask-tls", "secret": {"secretName": NAME}}]
    mount = [{"name": "dask-tls", "mountPath": "/etc/dask-tls"}]
    values = {"volumes": volume, "volumeMounts": mount, "extraEnv": tls_env("/etc/dask-tls")}
    settings = [word for key, value in values.items() for word in ("--set-json", f"{key}={json.dumps(value)}")]
    with operator_with(helm, *settings):
        yield
    operators.run("delete", "secret", NAME)


def _scales_down_without_loss(release: Release, tmp_path: Path) -> None:
    """Check a scale-down from a client with the certificate."""
    insider = client_of(release.kube, release.image, "insider", f"{NAME}-tls")
    address = f"tls://{NAME}-scheduler:8786"
    session = Session(release.kube, address, tmp_path / "session.log", insider.pod)
    try:
        session.wait_for_workers(4)
        held = session.hold(RESULTS)
        session.load()
        release.upgrade("--set", "worker.replicas=2")
        release.settles(2)
        assert session.digests() == held.digests
        # A scale-down may take less than two of the running sums.
        assert session.rest() > 0
    finally:
        session.close()


def test_nobody_computes_without_the_certificate_and_scaling_down_loses_nothing(
    release: Release, tmp_path: Path
) -> None:
    release.install(*TLS)
    release.settles(4)
    strangers = tmp_path / "strangers"
    strangers.mkdir()
    make_certificates(strangers)
    put_tls_secret(release.kube, "strangers", strangers)
    stranger = client_of(release.kube, release.image, "stranger", "strangers")
    host = f"{NAME}-scheduler"
    assert "CERTIFICATE_REQUIRED" in stranger.python(HANDSHAKE, host)
    assert "certificate verify failed" in stranger.python(CONNECT, f"tls://{host}:8786")
    assert "CommClosedError" in stranger.python(CONNECT, f"tcp://{host}:8786")
    assert "Phase:          Succeeded" in release.test()
    _scales_down_without_loss(release, tmp_path)
    release.uninstall()


@pytest.mark.alone
@pytest.mark.usefixtures("operator_with_certificate")
def test_the_operator_moves_results_by_tls_where_http_is_closed(release: Release, tmp_path: Path) -> None:
    release.install(*TLS, *ONLY_HEALTH)
    release.settles(4)
    _scales_down_without_loss(release, tmp_path)
    release.uninstall()
