"""Queues: a DaskCluster or a DaskJob with Kueue's label has no Pods until its queue admits it.

The controller asks for the first Pods with one Workload, and for more workers with others, and follows what Kueue
answers: what waits is suspended (`plan/suspension`), and so is what is evicted. Its quota is given back when its Pods
are gone. An admission holds for the templates that it was asked with, and for at most so many workers of each group.
"""
