"""Decides who is notified of which incident and when, and sends the outbox."""
