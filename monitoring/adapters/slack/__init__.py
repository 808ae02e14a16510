"""Slack: the digest, and alerts by a bot or by an incoming webhook."""
