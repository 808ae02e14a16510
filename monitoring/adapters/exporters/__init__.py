"""Exporters of metrics, each a ``usecases.ports.MetricsOutlet``."""
