"""DICOM on the wire: SCP and SCU."""
