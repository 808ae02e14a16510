"""What the watchdog costs, measured beside something that is known."""
