"""What is read of the Prefect server."""
