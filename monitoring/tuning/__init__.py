"""What helps to set limits: explanations, backtests and run comparisons."""
