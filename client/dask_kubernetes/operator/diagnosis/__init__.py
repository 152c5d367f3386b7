"""The state of a cluster and its problems, from its objects in Kubernetes. Nothing here reads, writes or waits."""
