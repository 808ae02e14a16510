"""What the watchdog knows, as numbers: what there is to measure, and what a check has measured."""
