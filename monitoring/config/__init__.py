"""The layers of the configuration: its settings, where they are found, and the source of each value."""
