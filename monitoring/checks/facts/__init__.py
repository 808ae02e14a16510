"""Facts that several checks share. Checks import these and never each other."""
