"""The automation of `watchdog automation deploy`, whatever the target was called; no others are changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from monitoring.adapters.prefect.client.api import Api
from monitoring.adapters.prefect.client.paging import read_pages
from monitoring.doctor.silence_automation import is_ours
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
        """Create our automation, or change the one that there is; if nothing differs, it is not restarted."""
        rows = self._ours()
        if not rows:
            return Deployed(str(self.api.post("/automations/", dict(automation))["id"]), "made")
        first, *others = rows
        for other in others:
            # Somebody deployed it at the same time, or an earlier version under an earlier name of the target.
            self.api.delete(f"/automations/{other['id']}")
        if _holds(first, automation):
            return Deployed(first["id"], "unchanged")
        self.api.request("PUT", f"/automations/{first['id']}", json=dict(automation))
        return Deployed(first["id"], "changed")

    def remove(self) -> list[str]:
        """Delete our automations; return their names."""
        rows = self._ours()
        for row in rows:
            self.api.delete(f"/automations/{row['id']}")
        return [str(row["name"]) for row in rows]

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

    def _ours(self) -> list[Mapping[str, Any]]:
        pages = read_pages(self.api, "/automations/filter", {"sort": "CREATED_DESC"}, page_size=None)
        return [row for page in pages for row in page if is_ours(row["name"], row.get("description") or "")]


def _holds(row: Any, wanted: Any) -> bool:
    """Whether the server's automation is the wanted one, apart from fields that the server adds."""
    if isinstance(wanted, Mapping):
        return isinstance(row, Mapping) and all(key in row and _holds(row[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(row, list) and len(row) == len(wanted) and all(map(_holds, row, wanted))
    return bool(row == wanted)
