"""Receivers other than Slack: Prefect notification blocks and the dead-man's switch."""
