"""Reads everything that rules, routes, maintenance windows and silences can match."""

from __future__ import annotations

from monitoring.adapters.prefect.read import rows
from monitoring.adapters.prefect.read.collection import Collection
from monitoring.adapters.prefect.read.rows import Row
from monitoring.doctor.installation import SUBJECTS
from monitoring.model.policy import PolicyKey, policy_key


def read_subjects(collection: Collection) -> tuple[PolicyKey, ...]:
    """Read all deployments and work pools, and all flows if runs without a deployment are watched."""
    found = collection.rows(SUBJECTS, "/deployments/filter", {"sort": "CREATED_DESC"})

    def flow(row: Row) -> tuple[str, str]:
        return row["id"], collection.name(row["name"])

    without_deployment = collection.config.target.runs_without_deployment
    if without_deployment:
        flows = dict(collection.read(SUBJECTS, "/flows/filter", {}, flow))
    else:
        flows = dict(collection.by_id(SUBJECTS, "flows", {row["flow_id"] for row in found if "flow_id" in row}, flow))

    def deployment(row: Row) -> PolicyKey:
        return policy_key(rows.deployment(row, flows[row["flow_id"]], collection.name))

    return (
        *collection.values(SUBJECTS, [row for row in found if row.get("flow_id") in flows], deployment),
        *(PolicyKey(name=name) for name in flows.values() if without_deployment),
        *collection.read(
            SUBJECTS, "/work_pools/filter", {}, lambda row: PolicyKey(pool=collection.name(str(row["name"])))
        ),
    )
