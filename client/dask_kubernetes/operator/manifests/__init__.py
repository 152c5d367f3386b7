"""Manifests of Dask resources, from Python arguments. Nothing here reads, writes or waits."""
