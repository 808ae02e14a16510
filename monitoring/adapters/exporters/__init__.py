"""Exporters of metrics, each a ``usecases.ports.Exporter``."""
