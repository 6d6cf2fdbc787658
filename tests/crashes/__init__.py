"""Crashes of the database under a running server."""
