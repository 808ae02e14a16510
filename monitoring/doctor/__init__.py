"""Whether the watchdog itself is set up as it should be."""
