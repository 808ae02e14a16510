"""Requests to the Prefect API: retries, pages and secrets."""
