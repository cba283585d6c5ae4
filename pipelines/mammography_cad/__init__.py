"""Masses and calcification clusters on a four-view mammography exam."""
