"""A cluster that was made goes with what made it: when it is closed, collected as garbage, or the interpreter ends."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable

from dask_kubernetes.exceptions import DaskKubernetesError
from dask_kubernetes.operator.daskcluster import DaskCluster
from dask_kubernetes.operator.kubernetes import CLUSTER

logger = logging.getLogger(__name__)

_AT_EXIT = 10.0
_open: set[Lifetime] = set()


class Lifetime:
    """Deletes a DaskCluster when `owner` goes without having been closed. `stop` ends what runs for it."""

    def __init__(self, owner: object, cluster: DaskCluster, stop: Callable[[], None]) -> None:
        self._cluster = cluster
        self._stop = stop
        self._finalizer = weakref.finalize(owner, self._collected)
        # By `_at_exit`, which comes while there can be no more threads.
        self._finalizer.atexit = False
        _open.add(self)

    def over(self) -> None:
        """Nothing is left to be done."""
        self._finalizer.detach()
        _open.discard(self)

    def _collected(self) -> None:
        # Whoever lets go of a cluster, perhaps the event loop, is not to wait for an API server.
        threading.Thread(target=self.end, name=f"delete {self._cluster.name}").start()
        self._stop()

    def end(self) -> None:
        """Deletes it, without an event loop. Once, whether that works or not."""
        self.over()
        name, namespace = self._cluster.name, self._cluster.namespace
        try:
            self._cluster.kubernetes.delete_now(CLUSTER, name, namespace, self._cluster.uid, _AT_EXIT)
        except DaskKubernetesError as error:
            logger.warning(
                "the DaskCluster %s was not deleted (%s): `kubectl delete daskcluster %s --namespace %s` does it",
                name, error, name, namespace,
            )  # fmt: skip


def _forget() -> None:
    """A process that is forked has made nothing yet: what there is its parent has."""
    for lifetime in list(_open):
        lifetime.over()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def _at_exit() -> None:
    for lifetime in list(_open):
        lifetime.end()
