"""A local Prefect server with workloads that misbehave in known ways, monitored by the watchdog."""
