"""What the watchdog costs, each measured beside something known."""
