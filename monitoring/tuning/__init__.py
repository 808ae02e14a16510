"""Helps to set limits: explanations, backtests and run comparisons."""
