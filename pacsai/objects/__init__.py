"""Findings to DICOM: one module per information object (seg, sr, gsps, sc, ko) and the gate before sending."""
