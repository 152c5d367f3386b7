from __future__ import annotations

from tests.support.builders import a_cluster, a_deployment, a_group, a_service, seen

from dask_operator.model import ObjectRef
from dask_operator.plan.ownership.children import children, refs
from dask_operator.plan.view import View

REFS = (
    ObjectRef("Service", "simple-scheduler"),
    ObjectRef("Deployment", "simple-scheduler"),
    ObjectRef("DaskWorkerGroup", "simple-default"),
)


def test_a_cluster_has_three_children() -> None:
    cluster = a_cluster()
    assert tuple(refs(cluster)) == REFS
    service, deployment, group = children(View.of(cluster, seen(3)))
    assert (service.ref, deployment.ref, group.ref) == REFS
    assert (service.seen, deployment.seen, group.seen) == (a_service(), a_deployment(), a_group())
    templates = (cluster.service, cluster.scheduler, cluster.worker)
    assert [child.template for child in (service, deployment, group)] == [template.hash for template in templates]


def test_an_object_of_another_cluster_of_this_name_is_no_child() -> None:
    others = seen(
        0,
        service=a_service(owners=("another",)),
        deployment=a_deployment(owners=("another",)),
        groups=[a_group(owner="another")],
    )
    assert [child.seen for child in children(View.of(a_cluster(), others))] == [None, None, None]


def test_what_makes_a_child_makes_the_object_that_it_refers_to() -> None:
    cluster = a_cluster()
    for child in children(View.of(cluster, seen(0, service=None, groups=[]))):
        made = child.make(cluster)
        assert ObjectRef(made["kind"], made["metadata"]["name"]) == child.ref
