"""One Prefect server, through its API."""
