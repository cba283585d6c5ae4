"""Lung nodules on chest CT: lungs, detection, measurement."""
