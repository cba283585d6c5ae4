"""Where results go: one Archive protocol, one module per kind of archive."""
