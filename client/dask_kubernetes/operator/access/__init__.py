"""Connections to the Kubernetes API and to Dask schedulers."""
