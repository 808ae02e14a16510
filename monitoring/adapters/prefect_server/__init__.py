"""One Prefect server, through its API: what is read of it, and what the watchdog keeps on it."""
