"""Finished runs as one page that a browser opens without network."""
