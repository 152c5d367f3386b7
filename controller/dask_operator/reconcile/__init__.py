"""Reconciliation: watches, the store, the queue, the loop and the execution of plans."""
