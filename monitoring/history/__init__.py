"""What is kept of runs that have ended: the ledger, run times, cadence and counts."""
