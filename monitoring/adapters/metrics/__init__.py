"""Ways out for the numbers that a check has measured, each as ``ports.MetricsOutlet``."""
