from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from docs.included import ROOT
from tests.controller.parse.twisted import twisted
from tests.support.builders import raw_group

from dask_operator import parse
from dask_operator.model import Offer

FEW = {"limits": {"cpu": "4"}}
PREFIX = "DASK_DISTRIBUTED__WORKER__RESOURCES"


def _offer(*args: str, **container: Any) -> Offer:
    return parse.offer({"containers": [{"args": ["dask", "worker", *args], **container}]})


def _env(**variables: str) -> dict[str, Any]:
    return {"env": [{"name": name, "value": value} for name, value in variables.items()]}


CASES: list[tuple[list[str], dict[str, str], int]] = [
    ([], {}, 4),
    (["--resources", "GPU=1"], {}, 4),
    (["--resources=GPU=1,MEM=2e9"], {}, 4),
    (["--resources", "GPU=1 MEM=0.5", "--nthreads", "2"], {}, 4),
    (["--resources", "GPU=1", "--resources", "MEM=1"], {}, 4),
    (["--resources", ""], {f"{PREFIX}__GPU": "2"}, 4),
    (["--resources", "GPU=1"], {f"{PREFIX}__MEM": "2"}, 4),
    ([], {f"{PREFIX}__GPU": "2", f"{PREFIX}__MEM": "1.5"}, 4),
    ([], {f"{PREFIX}": "{'GPU': 2}"}, 4),
    ([], {f"{PREFIX}__MEM": "1", f"{PREFIX}": "{'GPU': 2}"}, 4),
    ([], {f"{PREFIX}": "{'GPU': 2}", f"{PREFIX}__MEM": "1"}, 4),
    (["--nworkers", "2"], {}, 5),
    (["--nworkers=2", "--nthreads=3"], {}, 4),
    (["--nworkers", "8"], {}, 4),
    (["--nworkers", "-1"], {}, 4),
    (["--nworkers", "auto"], {}, 3),
    (["--nworkers", "auto"], {}, 12),
    (["--nworkers", "auto"], {}, 31),
    (["--nthreads", "0"], {}, 6),
]


def test_dask_itself_decides_the_same() -> None:
    command = [sys.executable, "-m", "tests.support.worker_offer"]
    answer = subprocess.run(command, input=json.dumps(CASES), cwd=ROOT, check=True, capture_output=True, text=True)
    for (args, variables, cpus), (resources, threads, workers) in zip(CASES, json.loads(answer.stdout), strict=True):
        found = _offer(*args, **_env(**variables), resources={"limits": {"cpu": cpus}})
        assert found == Offer(tuple(sorted(resources.items())), threads, workers), (args, variables, cpus)


@pytest.mark.parametrize(
    ("cpu", "threads"),
    [("4", 4), (4, 4), ("1500m", 2), ("100m", 1), (0.5, 1), ("2.5", 3), (None, None), ("4Gi", None), ("x", None)],
)
def test_threads_follow_the_limit_of_processors(cpu: Any, threads: int | None) -> None:
    assert _offer(resources={"limits": {"cpu": cpu}}).threads == threads


@pytest.mark.parametrize(
    "container",
    [
        {"command": ["sh", "-c", "exec dask worker --nworkers 2 --resources GPU=1"], "args": ["ignored"]},
        {"command": ["/bin/bash", "-lc"], "args": ["true && dask worker --nworkers=2 --resources='GPU=1'; exit"]},
        {"args": ["bash", "-c", 'dask-worker \\\n  --resources "GPU=1" \\\n  --nprocs 2\n']},
        {"args": ["tini", "--", "dask", "worker", "--resources", "GPU=$(GPUS)", "--nworkers=2"], **_env(GPUS="1")},
        {"args": ["python", "-m", "distributed.cli.dask_worker", "--resources=GPU=1", "--nworkers=2"]},
    ],
)
def test_scripts_and_references_are_read(container: dict[str, Any]) -> None:
    spec = {"containers": [{"args": ["a-proxy", "--resources", "GPU=9"]}, {**container, "resources": FEW}]}
    assert parse.offer(spec) == Offer((("GPU", 1.0),), 2, 2)


def test_a_worker_of_cuda_has_a_process_for_each_gpu() -> None:
    limits = {"limits": {"cpu": "8", "nvidia.com/gpu": 4}}
    for program in (["dask", "cuda", "worker"], ["dask-cuda-worker"]):
        spec = {"containers": [{"args": [*program, "--resources", "GPU=1"], "resources": limits}]}
        assert parse.offer(spec) == Offer((("GPU", 1.0),), 1, 4)


@pytest.mark.parametrize("value", ["GPU", "GPU=x", "GPU=nan", "GPU=inf", "GPU=-1", "=1", "GPU=1=2", "G" * 99 + "=1"])
def test_what_is_no_number_is_not_offered(value: str) -> None:
    assert _offer("--resources", value).resources == ()
    assert _offer(**_env(**{PREFIX: value})).resources == ()


@pytest.mark.parametrize(
    "literal", ["(" * 999, "-" * 999 + "1", "[1]", "{1: 1}", "{'GPU': True}", "{'GPU': 1" + " " * 999]
)
def test_odd_variables_offer_nothing(literal: str) -> None:
    assert _offer(**_env(**{PREFIX: literal})) == Offer()


def test_odd_templates_make_no_parser_fail() -> None:
    container = {
        "command": ["bash", "-c"],
        "args": ["dask worker --resources GPU=1", "--nworkers", "2"],
        "env": [{"name": PREFIX, "value": "{'GPU': 1}"}],
        "resources": {"limits": {"cpu": "2", "nvidia.com/gpu": "1"}},
    }
    for spec in twisted({"containers": [container]}):
        parse.offer(spec)
    assert parse.offer({}) == Offer()


@pytest.mark.parametrize("letters", ["\"'x ", '"\\', "-- ", "$(X)", "';", "'\"\\ "])
def test_a_long_script_takes_no_longer_than_its_beginning(letters: str) -> None:
    script = letters * (10**6 // len(letters))
    began = time.process_time()
    parse.offer({"containers": [{"args": ["sh", "-c", script, *["-c", script[:100]] * 1000]}]})
    assert time.process_time() - began < 1.0


def test_a_group_offers_what_its_workers_do() -> None:
    spec = {"containers": [{"args": ["dask", "worker", "--resources", "GPU=1", "--nthreads", "4"]}]}
    raw = raw_group(spec={"cluster": "simple", "worker": {"replicas": 1, "spec": spec}})
    assert parse.group(raw).offer == Offer((("GPU", 1.0),), 4, 1)
    assert parse.group(raw_group()).offer.resources == ()
