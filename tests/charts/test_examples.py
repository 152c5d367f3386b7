"""Example values files have their command of installation, and the chart takes them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.charts.conftest import ROOT

FOLDER = ROOT / "charts/dask-cluster/examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_says_what_it_is_for_and_how_it_is_installed(path: Path) -> None:
    purpose, command, *_ = path.read_text().splitlines()
    assert re.match(r"# [A-Z]", purpose)
    installed = rf"# helm install \S+ charts/dask-cluster( --namespace \S+)? --values {path.relative_to(ROOT)}"
    assert re.fullmatch(installed, command)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_chart_takes_the_example(helm: Path, path: Path) -> None:
    """Check also that the example makes a difference."""
    assert rendered(helm, "--values", str(path)) != rendered(helm)


def test_certificates_of_the_example_s_commands_are_trusted(tmp_path: Path) -> None:
    """Verify with an openssl as strict as that of the newest Python."""
    text = (FOLDER / "tls.yaml").read_text().replace("\\\n#", "")
    commands = re.findall(r"^#   (?:openssl|printf) .*", text, re.MULTILINE)
    for command in commands:
        subprocess.run(["bash", "-c", command.removeprefix("#")], cwd=tmp_path, check=True, capture_output=True)
    for purpose in ("sslserver", "sslclient"):
        check = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.crt", "tls.crt"]
        subprocess.run(check, cwd=tmp_path, check=True, capture_output=True)
    (created,) = re.findall(r"^#   kubectl create secret generic (\S+) (.*)", text, re.MULTILINE)
    assert created[0] == yaml.safe_load(text)["tls"]["secretName"]
    assert sorted(re.findall(r"--from-file=(\S+)", created[1])) == ["ca.crt", "tls.crt", "tls.key"]
    assert all((tmp_path / name).exists() for name in ("ca.crt", "tls.crt", "tls.key"))


def rendered(helm: Path, *arguments: str) -> list[object]:
    chart = str(ROOT / "charts/dask-cluster")
    command = [str(helm), "template", "my-cluster", chart, "--kube-version", "1.33.0", *arguments]
    return list(
        yaml.load_all(subprocess.run(command, check=True, capture_output=True, text=True).stdout, yaml.CSafeLoader)
    )
