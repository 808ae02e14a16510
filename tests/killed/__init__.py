"""Checks that die: how many alerts are lost or repeated when a check is killed, wherever that happens."""
