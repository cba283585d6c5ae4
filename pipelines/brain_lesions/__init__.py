"""Lesions of the brain on MR, from whatever sequences arrived."""
