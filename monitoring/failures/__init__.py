"""Why a run failed or crashed: its error, its traceback, and the child or task that made it fail."""
