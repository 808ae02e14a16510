"""The library behind the watchdog: from what a Prefect server says to what its people should know."""

__version__ = "0.1.0"
