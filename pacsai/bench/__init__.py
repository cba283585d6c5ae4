"""Measuring the node beside other programs, in one run and on one disk. Nothing of it runs in a node."""
