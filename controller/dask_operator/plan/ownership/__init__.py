"""Ownership: the children of a cluster, owner references, and objects taken over from other operators."""
