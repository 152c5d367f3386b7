"""Check the CRDs of the operator's chart: repeated parts must be equal, and each CRD small enough.

A DaskJob contains a DaskCluster's spec, and that contains the workers of a DaskWorkerGroup. Each file is complete, so
that people can apply and read it alone. This check keeps the copies equal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CRDS = Path(__file__).parents[2] / "charts/dask-kubernetes-operator/files/crds"
# `kubectl apply` keeps the whole object in an annotation. Annotations may have 256 KiB together.
LARGEST = 200 * 1024

_CLUSTER = ("daskcluster", "spec")
_SAME = (
    (_CLUSTER, ("daskjob", "spec.cluster.spec")),
    (("daskcluster", "spec.worker"), ("daskworkergroup", "spec.worker")),
    (("daskcluster", "spec.worker.spec"), ("daskcluster", "spec.scheduler.spec")),
    (("daskcluster", "spec.worker.spec"), ("daskjob", "spec.job.spec")),
    (("daskcluster", "spec.worker.metadata"), ("daskcluster", "spec.scheduler.metadata")),
    (("daskcluster", "spec.worker.metadata"), ("daskjob", "spec.job.metadata")),
    (("daskcluster", "spec.worker.metadata"), ("daskjob", "spec.cluster.metadata")),
    *((("daskcluster", "status.conditions.[]"), (kind, "status.conditions.[]"))
      for kind in ("daskworkergroup", "daskjob", "daskautoscaler")),
)  # fmt: skip


def load(folder: Path = CRDS) -> dict[str, Any]:
    """Return the CRDs by file name."""
    return {path.stem: yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(folder.glob("*.yaml"))}


def schema(crd: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a CRD's only version."""
    (version,) = crd["spec"]["versions"]
    return dict(version["schema"]["openAPIV3Schema"])


def at(crd: Mapping[str, Any], path: str) -> Any:
    """Return a CRD's schema of a field; `[]` stands for the items of a list."""
    part: Any = schema(crd)
    for name in path.split("."):
        part = part["items"] if name == "[]" else part["properties"][name]
    return part


def problems(crds: Mapping[str, Any]) -> Iterator[str]:
    for (first, first_path), (second, second_path) in _SAME:
        if at(crds[first], first_path) != at(crds[second], second_path):
            yield f"{first_path} in {first}.yaml and {second_path} in {second}.yaml should be the same: copy one"
    for name, crd in crds.items():
        size = len(json.dumps(crd, separators=(",", ":")))
        if size > LARGEST:
            yield f"{name}.yaml has {size} bytes as JSON, which `kubectl apply` will not take: at most {LARGEST}"


def main() -> int:
    found = list(problems(load()))
    print(*found, sep="\n", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
