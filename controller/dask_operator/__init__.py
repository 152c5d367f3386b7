"""The controller that reconciles Dask clusters on Kubernetes. ARCHITECTURE.md is the map."""
