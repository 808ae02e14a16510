"""What the watchdog shows on the Prefect server: artifacts, automations and events."""
