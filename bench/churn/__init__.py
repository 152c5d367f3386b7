"""An hour of constant change, and the promises that must hold all the same.

Users make, change and delete clusters of all kinds. Two controllers share a Lease. One is killed or stopped again and
again; the other runs throughout, so that leaks show. Both are paused, cut off and left without an answer. Every few
minutes there is calm, in which everything must become as declared, and then rest.
"""
