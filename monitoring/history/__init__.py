"""The history of ended runs: the ledger, run times, cadence and counts."""
