"""The watchdog's own automations, by their exact names; no others are changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from monitoring.adapters.prefect.client.api import Api
from monitoring.errors import WatchdogError


class Deployed(NamedTuple):
    """An automation on the server, and whether it was created or changed."""

    id: str
    became: Literal["made", "changed", "unchanged"]


@dataclass
class Automations:
    """The automations of one server. Every method raises ``ServerProblem`` if the server cannot be used."""

    api: Api

    def deploy(self, automation: Mapping[str, Any]) -> Deployed:
        """Create an automation, or change the automation with its name; if nothing differs, it is not restarted."""
        rows = self._named(automation["name"])
        if not rows:
            return Deployed(str(self.api.post("/automations/", dict(automation))["id"]), "made")
        first, *others = rows
        for other in others:
            # Somebody deployed it at the same time.
            self.api.delete(f"/automations/{other['id']}")
        if _holds(first, automation):
            return Deployed(first["id"], "unchanged")
        self.api.request("PUT", f"/automations/{first['id']}", json=dict(automation))
        return Deployed(first["id"], "changed")

    def remove(self, name: str) -> bool:
        """Delete the automations with this name; return whether there were any."""
        rows = self._named(name)
        for row in rows:
            self.api.delete(f"/automations/{row['id']}")
        return bool(rows)

    def notification_block(self, reference: str) -> str:
        """Return the id of a notification block, such as ``slack-webhook/ops``.

        Raises:
            WatchdogError: There is none.
        """
        block = self.api.block(reference)
        if block is None:
            raise WatchdogError(f"{reference}: no such block on {self.api.url}; see `prefect block ls`")
        if "notify" not in block["block_schema"]["capabilities"]:
            raise WatchdogError(f"{reference}: no notification block; expected one, such as slack-webhook/ops")
        return str(block["id"])

    def deployment(self, name: str) -> Mapping[str, Any]:
        """Return the deployment ``FLOW/DEPLOYMENT`` as the API has it.

        Raises:
            WatchdogError: There is none.
        """
        deployment = self.api.deployment(name)
        if deployment is None:
            raise WatchdogError(f"{name}: no such deployment on {self.api.url}; deploy the watchdog first")
        return deployment

    def _named(self, name: str) -> list[dict[str, Any]]:
        return self.api.query("/automations/filter", {"automations": {"name": {"any_": [name]}}}, list[dict[str, Any]])


def _holds(row: Any, wanted: Any) -> bool:
    """Whether the server's automation is the wanted one, apart from fields that the server adds."""
    if isinstance(wanted, Mapping):
        return isinstance(row, Mapping) and all(key in row and _holds(row[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(row, list) and len(row) == len(wanted) and all(map(_holds, row, wanted))
    return bool(row == wanted)
