"""Servers that misbehave: what a check sees of them, how long it takes, and how much memory."""
