"""Saves the state between the steps of a check or digest."""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.model.outbox import Outbox
from monitoring.model.saved_state import PublishedArtifact, SavedState
from monitoring.usecases.ports import State


class Saver:
    """Saves one change after another. Errors are those of ``State.save``.

    Args:
        state: Writes the saved state.
        saved: The state as it is saved now.
    """

    def __init__(self, state: State, saved: SavedState) -> None:
        self._state = state
        self.saved = saved

    def save(self, changed: SavedState) -> None:
        """Save another state."""
        self._state.save(self.saved, changed)
        self.saved = changed

    def save_outbox(self, outbox: Outbox) -> None:
        """Save the outbox, and leave the rest alone."""
        self.save(self.saved.model_copy(update={"outbox": outbox}))

    def save_artifacts(self, artifacts: Mapping[str, PublishedArtifact]) -> None:
        """Save the register of artifacts, and leave the rest alone."""
        self.save(self.saved.model_copy(update={"artifacts": artifacts}))
