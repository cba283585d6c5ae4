"""Organs found in images, as components that any pipeline may call."""
