"""The `dask kubernetes` commands: print manifests, and forward ports to an existing cluster."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import click
import yaml

from dask_kubernetes.exceptions import DaskKubernetesError
from dask_kubernetes.operator.manifests.fields import Manifest
from dask_kubernetes.operator.manifests.spec import make_additional_group
from dask_kubernetes.operator.settings import Settings, seconds_to_drain


@click.group(name="kubernetes")
def main() -> None:
    """Manage Dask clusters on Kubernetes."""


@main.group()
def gen() -> None:
    """Print manifests, for files or for kubectl apply -f -."""


def _json(_: click.Context, __: click.Parameter, value: str | None) -> Any:
    try:
        return None if value is None else json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is not JSON: {error}.") from None


def _variables(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    pairs = [value.partition("=") for value in values]
    for (name, equals, _value), written in zip(pairs, values, strict=True):
        if not name or not equals:
            raise click.BadParameter(f"{written!r} is not NAME=VALUE.")
    return {name: value for name, _, value in pairs} or None


def _workers(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that describe workers."""
    options = (
        click.option("--image", help="Container image.", show_default="kubernetes.image"),
        click.option(
            "--resources",
            callback=_json,
            metavar="JSON",
            help='Resources as JSON: {"cpu": 1, "memory": "2Gi"}, or requests and limits.',
        ),
        click.option(
            "--env",
            "-e",
            callback=_variables,
            multiple=True,
            metavar="NAME=VALUE",
            help="Environment variable. May be repeated.",
        ),
        click.option(
            "--worker-command", help="Command that starts a worker.", show_default="kubernetes.worker-command"
        ),
        click.option(
            "--drain-timeout",
            help="Seconds, or a duration, within which a worker that leaves ends its running tasks.",
            show_default="kubernetes.drain-timeout",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@gen.command()
@click.option("--name", required=True, help="Name of the cluster.")
@click.option("--n-workers", type=int, help="Workers of the default group.", show_default="kubernetes.count.start")
@_workers
@click.option(
    "--scheduler-service-type",
    help="ClusterIP, NodePort or LoadBalancer.",
    show_default="kubernetes.scheduler-service-type",
)
@click.option("--idle-timeout", help="Seconds of idleness after which the operator deletes the cluster.")
@click.option(
    "--restricted/--unrestricted",
    default=None,
    help="Comply with the Pod Security Standard restricted.",
    show_default="kubernetes.restricted",
)
@click.option("--jupyter", is_flag=True, help="Serve Jupyter from the scheduler; its image must contain Jupyter.")
def cluster(**arguments: Any) -> None:
    """Print the DaskCluster that KubeCluster creates with the same arguments.

    Defaults come from Dask's configuration.
    """
    with _mistakes():
        _print(Settings.of(**arguments).manifest())


@gen.command()
@click.option("--cluster", "cluster_name", required=True, help="Name of the group's cluster.")
@click.option("--name", required=True, help="Name of the group within its cluster.")
@click.option("--n-workers", type=int, default=3, show_default=True, help="Workers of the group.")
@_workers
def worker(cluster_name: str, drain_timeout: str | None, **arguments: Any) -> None:
    """Print the DaskWorkerGroup that add_worker_group creates with the same arguments.

    Defaults are those of a cluster created from Dask's configuration.
    """
    with _mistakes():
        seconds = seconds_to_drain(drain_timeout)
        _print(make_additional_group(Settings.of(name=cluster_name).manifest(), **arguments, drain_timeout=seconds))


@main.command()
@click.argument("cluster")
@click.option("--namespace", help="Namespace of the cluster.", show_default="kubernetes.namespace")
def port_forward(cluster: str, namespace: str | None) -> None:
    """Forward local ports to a cluster's scheduler and dashboard, until Ctrl-C."""
    # Importing the Kubernetes client is slow, and the other commands do not need it.
    from dask_kubernetes.operator import KubeCluster  # noqa: PLC0415

    with (
        _mistakes(),
        KubeCluster.from_name(cluster, namespace=namespace, shutdown_on_close=False, quiet=True) as connected,
    ):
        click.echo(f"Scheduler at: {connected.scheduler_address}")
        click.echo(f"Dashboard at: {connected.dashboard_link}")
        if connected.jupyter:
            click.echo(f"Jupyter at:   {connected.jupyter_link}")
        click.echo("Press Ctrl-C to stop.")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


@contextlib.contextmanager
def _mistakes() -> Iterator[None]:
    try:
        yield
    except DaskKubernetesError as error:
        raise click.ClickException(str(error)) from None


def _print(manifest: Manifest) -> None:
    click.echo(yaml.safe_dump(manifest, sort_keys=False), nl=False)
