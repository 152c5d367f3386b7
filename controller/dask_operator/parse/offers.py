"""The parser of what workers offer to tasks, from their Pod's template, as `dask worker` decides it.

What files and images set cannot be seen here.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Any

from dask_operator.model import Json, Offer
from dask_operator.parse.listening import variables
from dask_operator.parse.values import at, mappings

_MOST_CONTAINERS = 100
_MOST_RESOURCES = 20
_MOST_WORKERS = 1000
_LONGEST_NAME = 64
_LONGEST_VALUE = 1000
_LONGEST_SCRIPT = 64 * 2**10
_MOST_WORDS = 1000
_PROGRAMS = ("worker", "dask-worker", "distributed.cli.dask_worker", "dask-cuda-worker")
_SHELLS = ("sh", "bash", "dash", "ash")
# A word of a script. Quotes hold it together, and what ends a command is no part of it.
_WORD = re.compile(r"""(?:[^\s'";&|()]|'[^']*+'?|"(?:[^"\\]|\\.?)*+"?)++""", re.DOTALL)
_REFERENCE = re.compile(r"\$\(([\w.-]+)\)")
_CPUS = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(m?)")
_CONFIGURED = "distributed.worker.resources"
_GPUS = "nvidia.com/gpu"


def offer(spec: Json) -> Offer:
    """Return what the workers in a Pod of this spec offer."""
    containers = mappings(spec.get("containers"))[:_MOST_CONTAINERS]
    told = [_words(container) for container in containers]
    chosen = next((i for i, words in enumerate(told) if _program(words) >= 0), 0)
    if not containers:
        return Offer()
    container, words = containers[chosen], told[chosen]
    begin = _program(words)
    options = _options(words[begin + 1 :])
    given = options.get("--resources", "")
    resources = _given(given) if given else _configured(variables(container))
    workers, threads = _processes(container, options, cuda=begin >= 0 and _is_cuda(words, begin))
    return Offer(tuple(sorted(resources.items())), threads, workers)


def _words(container: Json) -> list[str]:
    """Return the words of a command and its arguments, and for a shell those of its script."""
    parts = (container.get("command"), container.get("args"))
    given = [word for part in parts if isinstance(part, list) for word in part if isinstance(word, str)]
    words: list[str] = []
    shell = False
    for before, word in pairwise(["", *given]):
        if len(words) >= _MOST_WORDS:
            break
        script = shell and re.fullmatch("-[a-z]{0,9}c", before)
        found = _WORD.finditer(word[:_LONGEST_SCRIPT].replace("\\\n", " ")) if script else ()
        words += [match[0] for match in islice(found, _MOST_WORDS)] if script else [word]
        shell = shell or word.rpartition("/")[2] in _SHELLS
    # Few letters of a template must not become many.
    known = {name: value for name, value in variables(container).items() if len(value) <= _LONGEST_NAME}
    return [_REFERENCE.sub(lambda match: known.get(match[1], match[0]), word[:_LONGEST_VALUE]) for word in words]


def _program(words: list[str]) -> int:
    """Return the place of the word that starts a worker, -1 if there is none."""
    return next((i for i, word in enumerate(words) if word.rpartition("/")[2] in _PROGRAMS), -1)


def _is_cuda(words: list[str], program: int) -> bool:
    return words[program].endswith("dask-cuda-worker") or words[program - 1 : program] == ["cuda"]


def _options(words: list[str]) -> dict[str, str]:
    """Return the options of a program; of an option that is given twice the last one counts."""
    options: dict[str, str] = {}
    for word, after in pairwise([*words, ""]):
        name, is_one, value = word.partition("=")
        if name.startswith("--"):
            options[name] = _unquoted(value if is_one else after)
    return options


def _unquoted(value: str) -> str:
    return value.replace("'", "").replace('"', "")


def _given(value: str) -> dict[str, float]:
    """Return the resources of the option, none if Dask would reject it."""
    pairs = [pair.split("=") for pair in value[:_LONGEST_VALUE].replace(",", " ").split()]
    if any(len(pair) != 2 for pair in pairs):
        return {}
    return _numbers(dict(pairs))


def _configured(env: Mapping[str, str]) -> dict[str, float]:
    """Return the resources that environment variables set. Dask writes their names in small letters."""
    resources: dict[str, Any] = {}
    for name, value in env.items():
        key = name[5:].lower().replace("__", ".") if name.startswith("DASK_") else ""
        if key == _CONFIGURED:
            whole = _literal(value)
            resources = dict(whole) if isinstance(whole, dict) else {}
        elif key.startswith(f"{_CONFIGURED}."):
            resources[key[len(_CONFIGURED) + 1 :]] = _literal(value)
    return _numbers(resources)


def _numbers(resources: Mapping[Any, Any]) -> dict[str, float]:
    found = {}
    for name, value in list(resources.items())[:_MOST_RESOURCES]:
        number = _number(value)
        if isinstance(name, str) and 0 < len(name) <= _LONGEST_NAME and number is not None:
            found[name] = number
    return found


def _number(value: Any) -> float | None:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0.0 else None


def _literal(value: str) -> Any:
    """Return a value as Dask's configuration reads it, None for a text or a long value."""
    try:
        return ast.literal_eval(value) if len(value) <= _LONGEST_VALUE else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _processes(container: Json, options: Mapping[str, str], *, cuda: bool) -> tuple[int, int | None]:
    """Return the number of workers and the threads of each, None if these depend on the node."""
    limits = at(container, "resources", "limits")
    cpus, given = _cpus(limits.get("cpu")), _integer(options.get("--nthreads", "")) or 0
    if cuda:
        return min(max(_integer(str(limits.get(_GPUS))) or 1, 1), _MOST_WORKERS), max(given, 1)
    told = options.get("--nworkers", options.get("--nprocs", "1"))
    if told == "auto":
        return _split(cpus) if cpus else (1, None)
    number = _integer(told) or 1
    number = number if number > 0 else (cpus or 0) + 1 + number
    workers = min(max(number, 1), _MOST_WORKERS)
    return workers, given if given > 0 else cpus and (cpus // workers or cpus)


def _split(cpus: int) -> tuple[int, int]:
    """Return how Dask splits processors into processes and their threads."""
    if cpus <= 4:
        return cpus, 1
    processes = next(n for n in range(math.isqrt(cpus - 1) + 1, cpus + 1) if cpus % n == 0)
    return processes, cpus // processes


def _cpus(limit: Any) -> int | None:
    """Return the processors of a container with this limit, as Dask counts them."""
    found = _CPUS.fullmatch(str(limit))
    return max(math.ceil(float(found[1]) / (1000 if found[2] else 1)), 1) if found else None


def _integer(value: str) -> int | None:
    return int(value) if re.fullmatch(r"-?\d{1,9}", value) else None
