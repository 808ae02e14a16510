"""The same use cases for a person at a terminal and for scripts."""
