"""Every layer of the configuration: what can be set, where it is found, and where each value came from."""
