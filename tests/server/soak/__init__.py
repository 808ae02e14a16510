"""Thousands of checks in one process, of a server that changes all the time: what grows, and what does not."""
