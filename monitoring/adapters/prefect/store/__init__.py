"""What the watchdog keeps on the Prefect server: documents and the lock."""
