"""Exceptions to the rule that an edit ends like a new deployment, in one table for all tests of edits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.support.fields import Edit
from tests.support.outcome import Outcome, difference

NEW, BEFORE, FOR_EVER = "new", "before", "for ever"


class Promise(NamedTuple):
    """The outcome of edits that fit `edit`: NEW, like a new deployment; BEFORE, as before; or NEW and FOR_EVER.

    `but`: further differences that are allowed.
    """

    edit: str
    like: str
    but: str
    because: str


PROMISES = (
    Promise(
        r"\w+ metadata\.",
        BEFORE,
        "",
        "an object's own labels and annotations reach what is made from then on, and restart nothing (README)",
    ),
    Promise(
        r"DaskJob spec\.activeDeadlineSeconds = [0-9]",
        FOR_EVER,
        r"DaskJob \S+/0/status/(clusterName|jobRunnerPodName)",
        "it has passed, and a job that has ended is never started again (plan/job)",
    ),
    Promise(
        r"DaskJob spec\.(?!(cluster\.spec\.)?suspend)",
        BEFORE,
        "",
        "a job's cluster and runner are made once, as a Kubernetes Job's Pod is",
    ),
    Promise(
        r"\w+ spec\.worker\.replicas removed",
        BEFORE,
        r"DaskWorkerGroup simple-default/0/metadata/annotations/kubernetes.dask.org/replicas",
        "where nobody says how many workers there are to be, they stay as many as they are (CRD)",
    ),
    Promise(
        r"\w+ spec\.worker\.drainTimeoutSeconds = ",
        NEW,
        r"Pod .*-worker-#/\d+/spec/(terminationGracePeriodSeconds|containers/0/env/3/value)",
        "a worker keeps the time that Kubernetes gives its Pod to end; an edit of it restarts nothing (docs/resources)",
    ),
    Promise(
        r"DaskCluster spec\.scheduler\.service(\.ports\S* |\[\]\.port = | = {})",
        NEW,
        r'Pod .*-worker-#/\d+/spec/containers/0/env/1/value: "tcp:',
        "a worker keeps the address that it was started with, and its connection; what restarts it is its own template",
    ),
    Promise(
        r"DaskCluster spec\.scheduler\.service\.(fieldOfKubernetes|ipFamil)",
        NEW,
        r"Service \S+-scheduler/0/spec/(fieldOfKubernetes|ipFamil)",
        "Kubernetes keeps what it allots; which fields of a Service fall back is known by name (faults/test_fields)",
    ),
)
_ANY = Promise("", NEW, "", "edits roll out (README)")


def promised(edit: Edit) -> Promise:
    return next((promise for promise in PROMISES if re.match(promise.edit, str(edit))), _ANY)


def unlike(found: Outcome, other: Outcome, promise: Promise, itself: Mapping[str, Any] | None = None) -> list[str]:
    """Return differences that are not promised. `itself`: an edited object whose own spec may differ."""
    never = "(?!)"
    own = rf"{itself['kind']} {itself['metadata']['name']}/0/(metadata|spec)/" if itself else never
    return [line for line in difference(found, other) if not re.match(rf"{own}|{promise.but or never}", line)]
