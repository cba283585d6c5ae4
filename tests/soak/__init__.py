"""A soak: many instances from several senders that break off at random, and what the node is like meanwhile and after.

`python -m tests.soak` (`make soak`). Knows nothing of how the receiver works: only what it answered, what it keeps, and
what its processes hold.
"""
