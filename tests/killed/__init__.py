"""How many alerts and digests are lost or repeated when a run is killed, wherever that happens."""
