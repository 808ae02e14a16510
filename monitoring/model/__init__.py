"""The values that travel through the watchdog, by stage of life: observed, found, notified, saved, reported."""
