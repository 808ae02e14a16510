"""Saves the outbox before and after everything that is sent."""

from __future__ import annotations

from monitoring.model.outbox import Outbox
from monitoring.model.saved_state import SavedState
from monitoring.usecases.ports import State


class OutboxSaver:
    """Saves changes of the outbox, and leaves the rest of the saved state alone.

    Args:
        state: Writes the saved state.
        saved: The state as it is saved now.
    """

    def __init__(self, state: State, saved: SavedState) -> None:
        self._state = state
        self.saved = saved

    def save(self, outbox: Outbox) -> None:
        """Save the outbox. Errors are those of ``State.save``."""
        changed = self.saved.model_copy(update={"outbox": outbox})
        self._state.save(self.saved, changed)
        self.saved = changed
