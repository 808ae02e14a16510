"""Reads the Prefect server."""
