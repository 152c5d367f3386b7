"""Two worker groups of one cluster scale independently."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.conftest import Image
from tests.e2e.session import Session
from tests.support.kube import Kube, eventually
from tests.support.manifests import dask_cluster, worker_group


def _workers(kube: Kube, group: str, number: int) -> dict[str, str]:
    """Return the uid of each worker by name, once so many have started."""

    def look() -> dict[str, str] | None:
        pods = kube.workers(group)
        started = all(pod["status"].get("phase") == "Running" for pod in pods)
        found = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}
        return found if started and len(found) == number else None

    found = eventually(look, f"{group} has {number} running workers")
    assert found is not None
    return found


def test_a_group_is_scaled_and_the_other_keeps_workers_and_data(
    kube: Kube, session: Callable[[str], Session], dask_image: Image
) -> None:
    kube.apply(dask_cluster("two", 2, image=str(dask_image)))
    kube.apply(worker_group("two-more", "two", 2, image=str(dask_image)))
    groups = ("two-default", "two-more")
    before = {group: _workers(kube, group, 2) for group in groups}
    dask = session("two")
    dask.wait_for_workers(4)
    results = {group: dask.hold(50, group, sorted(before[group])) for group in groups}
    dask.load()
    for scaled, other in (groups, groups[::-1]):
        assert results[other].holders == sorted(before[other])
        for number in (1, 3, 2):
            kube.run("scale", f"--replicas={number}", "daskworkergroup", scaled)
            _workers(kube, scaled, number)
            assert _workers(kube, other, 2) == before[other], f"{scaled} was scaled to {number}"
        assert {group: dask.digests(group) for group in groups} == {g: results[g].digests for g in groups}
        before[scaled] = _workers(kube, scaled, 2)
        results[scaled] = dask.hold(50, scaled, sorted(before[scaled]))
    assert dask.rest() > 1
