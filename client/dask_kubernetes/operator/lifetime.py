"""Deletion of a cluster together with the object that created it, if that is not closed first."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import weakref
from collections.abc import Callable

from dask_kubernetes.exceptions import DaskKubernetesError
from dask_kubernetes.operator.access.kubernetes import CLUSTER
from dask_kubernetes.operator.daskcluster import DaskCluster

logger = logging.getLogger(__name__)

_AT_EXIT = 10.0
_open: set[Lifetime] = set()


class Lifetime:
    """The pending deletion of a DaskCluster, for when `owner` is garbage collected or the interpreter exits.

    `stop` is called when the owner is collected, to end its background tasks.
    """

    def __init__(self, owner: object, cluster: DaskCluster, stop: Callable[[], None]) -> None:
        self._cluster = cluster
        self._stop = stop
        self._finalizer = weakref.finalize(owner, self._collected)
        # `_at_exit` does it at exit, when no thread can be started any more.
        self._finalizer.atexit = False
        _open.add(self)

    def cancel(self) -> None:
        """Cancel the deletion, after a normal close."""
        self._finalizer.detach()
        _open.discard(self)

    def _collected(self) -> None:
        # Garbage collection may run in the event loop, which must not wait for the API server.
        threading.Thread(target=self.delete_now, name=f"delete {self._cluster.name}").start()
        self._stop()

    def delete_now(self) -> None:
        """Delete the DaskCluster without an event loop. Tries only once."""
        self.cancel()
        name, namespace = self._cluster.name, self._cluster.namespace
        try:
            self._cluster.kubernetes.delete_now(CLUSTER, name, namespace, self._cluster.uid, _AT_EXIT)
        except DaskKubernetesError as error:
            logger.warning(
                "could not delete the DaskCluster %s (%s): use `kubectl delete daskcluster %s --namespace %s`",
                name, error, name, namespace,
            )  # fmt: skip


def _cancel_all() -> None:
    """Cancel all deletions in a forked process: the clusters are its parent's."""
    for lifetime in list(_open):
        lifetime.cancel()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_cancel_all)


@atexit.register
def _at_exit() -> None:
    for lifetime in list(_open):
        lifetime.delete_now()
