"""Kubernetes: requests to the API server, watches and the election of a leader."""
