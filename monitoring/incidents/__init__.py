"""Findings over time: lifecycle, correlation and action requests."""
