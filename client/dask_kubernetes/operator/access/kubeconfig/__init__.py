"""Kubeconfigs, as kubectl reads them."""
