"""An hour in which nothing stays as it is, and what must be so all the same.

Users make, change and delete clusters of all kinds. Of two controllers with one Lease one is ended again and again, in
either way; the other lives through it all, so that what it leaks would show. Both are paused, cut off and left without
an answer. Every few minutes there is calm, in which everything must become as it was declared, and then rest.
"""
