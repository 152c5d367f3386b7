"""Cases that the client decides likewise are in tests/cases (tests/ci/test_one_truth.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from docs.included import ROOT
from tests.controller.parse.twisted import twisted
from tests.support.dask import make_certificates

from dask_operator import parse
from dask_operator.model import Listening, ServicePort


def _listening(*args: str, **container: Any) -> Listening:
    return parse.listening({"containers": [{"name": "scheduler", "args": ["dask", "scheduler", *args], **container}]})


def test_a_scheduler_without_options_listens_where_dask_does() -> None:
    assert _listening() == Listening("", 8786, 8787, "", {})
    assert parse.listening({}) == Listening()


def test_options_and_names_of_ports_are_read() -> None:
    ports = [{"name": "a", "containerPort": 9000}, {"containerPort": 1}, {"name": "b", "containerPort": None}]
    found = _listening("--protocol", "wss", "--port=9000", "--dashboard-address", ":9001", ports=ports)
    assert found == Listening("wss", 9000, 9001, "", {"a": 9000})


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("/x", "/x"),
        ("x/y/", "/x/y"),
        ("", ""),
        ("/", ""),
        ("/x?a=b", ""),
        ("//elsewhere.example.com", "/elsewhere.example.com"),
    ],
)
def test_a_prefix_is_a_path(prefix: str, expected: str) -> None:
    assert _listening("--dashboard-prefix", prefix, "--no-dashboard").prefix == expected


def test_ports_of_a_service() -> None:
    ports = [{"name": "a", "port": 1, "appProtocol": "tls"}, {"port": 2, "targetPort": "x", "appProtocol": "https"}]
    assert parse.service_ports({"ports": ports}) == (ServicePort("a", 1, 1, "tls"), ServicePort("", 2, "x", ""))


def test_of_very_many_containers_and_ports_the_first_are_read() -> None:
    assert len(parse.service_ports({"ports": [{"port": 1}] * 1000})) == 100
    ports = [{"name": f"p{n}", "containerPort": 1} for n in range(1000)]
    assert len(_listening(ports=ports).named) == 100


def test_few_letters_do_not_become_many() -> None:
    env = [{"name": "X", "value": "x" * 150_000}, {"name": "P", "value": "t" * 64}]
    assert _listening(*["$(X)"] * 30_000, "--protocol", "$(P)", env=env).protocol == "t" * 64


def test_odd_templates_and_services_make_no_parser_fail() -> None:
    env = [{"name": "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME", "value": "tls"}]
    container = {"command": ["dask"], "args": ["scheduler", "--port", "1"], "env": env, "ports": [{"containerPort": 1}]}
    for spec in twisted({"containers": [container]}):
        parse.listening(spec)
    for spec in twisted(
        {"ports": [{"name": "a", "port": 1, "targetPort": "b", "appProtocol": "c", "protocol": "TCP"}]}
    ):
        parse.service_ports(spec)


def _started() -> list[tuple[list[str], dict[str, Any]]]:
    """Return the arguments and the container of each case that starts a scheduler without a script."""
    tables = (yaml.safe_load((ROOT / f"tests/cases/{name}.yaml").read_text()) for name in ("protocols", "ports"))
    cases = [case for table in tables for case in table if "appProtocol" not in case]
    containers = [each for case in cases if isinstance(case.get("containers"), list) for each in case["containers"]]
    known = [each for each in containers if isinstance(each, dict) and "envFrom" not in each]
    words = [[*(each.get("command") or []), *(each.get("args") or [])] for each in known]
    return [
        (said[2:], each)
        for said, each in zip(words, known, strict=True)
        if said[:2] == ["dask", "scheduler"] and not {"--name", "70000"} & set(said)
    ]


def test_dask_itself_decides_the_same(tmp_path: Path) -> None:
    make_certificates(tmp_path)
    cases, expected = [], []
    for args, container in _started():
        variables = {each["name"]: each["value"] for each in container.get("env", [])}
        words = [word.replace("/tls/", f"{tmp_path}/").replace("$(PROTOCOL)", "tls") for word in args]
        cases.append((words, variables))
        found = parse.listening({"containers": [container]})
        expected.append((found.protocol or "tcp", found.comm))
    assert len(cases) > 25
    command = [sys.executable, "-m", "tests.support.scheduler_address"]
    answer = subprocess.run(command, input=json.dumps(cases), cwd=ROOT, check=True, capture_output=True, text=True)
    addresses = [address.rpartition(":") for address in json.loads(answer.stdout)]
    assert [(scheme.partition("://")[0], int(port)) for scheme, _, port in addresses] == expected
