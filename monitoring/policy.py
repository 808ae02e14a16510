"""Which policy holds for which deployment, and where each value of it comes from.

From weakest to strongest: the defaults, the file, the file's rules in their order, the environment
(``WATCHDOG_LATE__AFTER=20m``), the flow's parameters. Each layer changes only what it names.
"""

from __future__ import annotations

from monitoring.config import Config, Policy


class Policies:
    """The effective policy of every deployment."""

    def __init__(self, config: Config) -> None:
        self.config = config

    def of(self, name: str, tags: tuple[str, ...] = (), pool: str | None = None) -> Policy:
        """The policy of one deployment.

        Args:
            name: ``flow/deployment``.
            tags: The deployment's tags.
            pool: Its work pool's name.
        """
        return self.config
