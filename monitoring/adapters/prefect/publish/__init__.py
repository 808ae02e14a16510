"""Publishes artifacts, automations and events on the Prefect server."""
