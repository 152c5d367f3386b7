"""A Dask client in the cluster that runs as long as a test.

It puts random results on workers and reports their digests: a result that was lost and computed again has another one.
Meanwhile it keeps workers busy with sums, and checks the answers.
"""

from __future__ import annotations

import inspect
import json
import select
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.kube import PATIENCE, Kube
from tests.support.starts import counted

_SAID = 60.0
"""Seconds beyond the client's own timeouts, so that it can report the obstacle."""
PROGRAM = """
import collections, hashlib, json, os, sys, threading, time
import dask, dask.array
from distributed import Client, WorkerPlugin, wait

def result(number):
    return os.urandom(100_000)

def digest(data):
    return hashlib.sha256(data).hexdigest()

def slow_square(number, seconds):
    time.sleep(seconds)
    return number * number

def until(file):
    while not os.path.exists(file):
        time.sleep(0.1)
    return True

class Starts(WorkerPlugin):
    name = "starts"

    def setup(self, worker):
        self.worker = worker

    def transition(self, key, start, finish, **others):
        if number := counted(start, finish):
            self.worker.log_event("starts", [str(key), number])

def count(event):
    # The scheduler keeps only the last events, and tells each one.
    at, (key, number) = event
    begun[key] += number

def starts():
    return {"tasks": len(begun), "again": [key for key, number in begun.items() if number > 1]}

def shuffled():
    numbers = dask.array.random.random((300, 300), chunks=(30, 300)).map_blocks(pause).rechunk((300, 30), method="p2p")
    return bool(0.0 < client.compute(numbers.sum()).result() < 300.0 * 300.0)

def pause(block):
    time.sleep(0.2)
    return block

class Load(threading.Thread):
    def __init__(self, number, seconds, shuffles):
        super().__init__(daemon=True)
        self.right, self.wrong, self.error, self.over = 0, 0, "", threading.Event()
        self.number, self.seconds, self.shuffles = number, seconds, shuffles

    def run(self):
        try:
            while not self.over.is_set():
                answer = squares(self.number, self.seconds) and (not self.shuffles or shuffled())
                self.right += answer
                self.wrong += not answer
        except Exception as error:
            self.error = repr(error)

def squares(number, seconds, resources=None):
    parts = client.map(slow_square, range(number), seconds=seconds, pure=False, resources=resources)
    return client.submit(sum, parts).result() == sum(n * n for n in range(number))

def known():
    # Not Client.scheduler_info: its value may be replaced by one without workers before it is read.
    return client.sync(client.scheduler.identity, n_workers=-1)["workers"]

def registered(workers):
    # A worker runs some time before the scheduler knows it, which takes a name that it does not know for a host.
    while True:
        info = known()
        if set(workers) <= {str(worker["name"]) for worker in info.values()}:
            return info
        time.sleep(0.1)

def hold(key, number, workers):
    info = registered(workers)
    places = workers or sorted(info)
    held[key] = [
        client.submit(result, n, pure=False, workers=[places[n % len(places)]]) for n in range(number)
    ]
    wait(held[key])
    names = {name for who in client.who_has(held[key]).values() for name in who}
    return {"digests": digests(key), "holders": sorted(str(info[name]["name"]) for name in names)}

def digests(key):
    return client.gather(client.map(digest, held[key], pure=False))

def answer(do, **arguments):
    global load, occupied
    if do == "wait":
        client.wait_for_workers(arguments["number"], timeout=arguments["seconds"])
    elif do == "hold":
        return hold(**arguments)
    elif do == "digests":
        return digests(**arguments)
    elif do == "squares":
        return squares(**arguments)
    elif do == "load":
        load = Load(**arguments)
        load.start()
    elif do == "rest":
        load.over.set()
        load.join()
        return {"right": load.right, "wrong": load.wrong, "error": load.error}
    elif do == "count":
        client.subscribe_topic("starts", count)
        client.register_plugin(Starts())
    elif do == "starts":
        return starts()
    elif do == "occupy":
        occupied = client.submit(until, arguments["file"], pure=False)
        while not any(client.processing().values()):
            time.sleep(0.1)
    elif do == "busy":
        info = known()
        return [str(info[address]["name"]) for address, tasks in client.processing().items() if tasks]
    elif do == "free":
        return occupied.result()

held, load, occupied, begun = {}, None, None, collections.Counter()
with Client(sys.argv[1], timeout=float(sys.argv[2])) as client:
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)
"""


@dataclass(frozen=True)
class Held:
    """Results on workers: their digests, and the names of the workers that hold them."""

    digests: list[str]
    holders: list[str]


class Session:
    """A client in a Pod, connected to a cluster's address."""

    def __init__(self, kube: Kube, address: str, log: Path, pod: str = "client") -> None:
        command = [kube.kubectl, "--kubeconfig", str(kube.kubeconfig), "--namespace", kube.namespace]
        program = inspect.getsource(counted) + PROGRAM
        command += ["exec", "--stdin", pod, "--", "python", "-u", "-c", program, address, str(PATIENCE)]
        self._log = log
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
            )
        self.answer("connect")

    def wait_for_workers(self, number: int) -> None:
        self.ask("wait", number=number, seconds=PATIENCE)

    def hold(self, number: int, key: str = "results", workers: Sequence[str] = ()) -> Held:
        """Put results on all workers in turn, or on the named ones."""
        return Held(**self.ask("hold", key=key, number=number, workers=list(workers)))

    def digests(self, key: str = "results") -> list[str]:
        found: list[str] = self.ask("digests", key=key)
        return found

    def load(self, number: int = 40, seconds: float = 0.25, *, shuffles: bool = False) -> None:
        """Keep all workers busy until `rest`, with sums of `number` parts of `seconds` each, and with P2P shuffles."""
        self.ask("load", number=number, seconds=seconds, shuffles=shuffles)

    def count_starts(self) -> None:
        """Count from now on how often each task starts."""
        self.ask("count")

    def run_again(self) -> list[str]:
        """Return the keys of tasks that have started more than once. Fails if none has started."""
        found = self.ask("starts")
        assert found["tasks"]
        again: list[str] = found["again"]
        return again

    def rest(self) -> int:
        """Return the number of right sums since `load`. Fails if one was wrong."""
        done = self.ask("rest")
        assert (done["wrong"], done["error"]) == (0, ""), done
        return int(done["right"])

    def occupy(self, file: str) -> None:
        """Keep a worker busy with one task until this file is in its Pod; return once the scheduler has assigned it."""
        self.ask("occupy", file=file)

    def free(self) -> bool:
        """Return the result of that task."""
        return bool(self.ask("free"))

    def ask(self, do: str, **arguments: Any) -> Any:
        self.begin(do, **arguments)
        return self.answer(do)

    def begin(self, do: str, **arguments: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")

    def answer(self, what: str) -> Any:
        assert self._process.stdout
        seconds = PATIENCE + _SAID
        ready, _, _ = select.select([self._process.stdout], [], [], seconds)
        line = self._process.stdout.readline() if ready else b""
        if not line:
            raise AssertionError(f"no answer to `{what}` within {seconds:.0f} s: {self._log.read_text()[-2000:]}")
        return json.loads(line)

    def close(self) -> None:
        # The program in the Pod ends with its input.
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
