from __future__ import annotations

import json
from pathlib import Path

import kopf
import pytest
from tests.support.kubeconfig import write_kubeconfig

from dask_operator.kubernetes.login import Login, service_account


@pytest.fixture(autouse=True)
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_account.read, "__defaults__", (tmp_path / "serviceaccount",))
    monkeypatch.setenv("HOME", str(tmp_path))


def test_without_credentials_it_says_where_it_looked() -> None:
    with pytest.raises(kopf.LoginError, match="neither a Pod's ServiceAccount nor KUBECONFIG"):
        Login({})()


def test_a_pods_service_account_comes_first(tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path / "config", "https://other", token="other")
    (tmp_path / "serviceaccount").mkdir()
    (tmp_path / "serviceaccount/token").write_text("own")
    assert Login({"KUBECONFIG": str(file)})().token == "own"


def test_each_call_reads_again_and_stays_with_the_context(tmp_path: Path) -> None:
    file = write_kubeconfig(tmp_path / "config", "https://one", token="first")
    login = Login({"KUBECONFIG": str(file)})
    assert login().token == "first"
    config = json.loads(write_kubeconfig(file, "https://one", token="second").read_text())
    config["contexts"].append({"name": "there", "context": {"cluster": "d", "user": "u"}})
    config["clusters"].append({"name": "d", "cluster": {"server": "https://two"}})
    config["current-context"] = "there"
    file.write_text(json.dumps(config))
    assert (login().server, login().token) == ("https://one", "second"), "clusters there are not these"
    assert Login({"KUBECONFIG": str(file)})().server == "https://two"
    del config["contexts"][0]
    file.write_text(json.dumps(config))
    with pytest.raises(kopf.LoginError, match="there is no context here"):
        login()
