"""The watchdog's documents and lock on the Prefect server."""
