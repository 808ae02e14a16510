"""A local Prefect server with workloads that misbehave in known ways, watched by the watchdog."""
