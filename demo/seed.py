"""Give a deployment past runs: a success three days ago, and then a run every hour, each cancelled by hand.

The API cannot set past times, so the rows go in through the server's own database models: ``python -m demo.seed ID``.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime, timedelta, timezone
from uuid import UUID, uuid4

from prefect.server.database import provide_database_interface
from prefect.server.schemas.states import StateType
from sqlalchemy import insert, select, update

HOUR = timedelta(hours=1)
PAST = timedelta(days=3)


async def seed(deployment_id: UUID, now: datetime) -> None:
    """Write the past runs of a deployment in a single transaction."""
    db = provide_database_interface()
    # In SQLite, a transaction that reads before it writes would lose against any other writer.
    async with db.session_context(begin_transaction=True, with_for_update=True) as session:
        deployment = await session.get_one(db.Deployment, deployment_id)
        runs, states = [], []
        for hours in range(PAST // HOUR):
            due = now - PAST + hours * HOUR
            kind = StateType.CANCELLED if hours else StateType.COMPLETED
            name = kind.value.capitalize()
            # A run that is cancelled before it starts has the same start and end.
            start, end = due, due if hours else due + timedelta(seconds=20)
            run_id = uuid4()
            runs.append(
                {
                    "id": run_id,
                    "created": due - HOUR,
                    "updated": end,
                    "flow_id": deployment.flow_id,
                    "deployment_id": deployment.id,
                    "work_queue_id": deployment.work_queue_id,
                    "name": f"{due:%A}-{due:%H%M}".lower(),
                    "auto_scheduled": True,
                    "expected_start_time": due,
                    "start_time": start,
                    "end_time": end,
                    "total_run_time": end - start,
                    "run_count": 0 if hours else 1,
                    "state_type": kind,
                    "state_name": name,
                    "state_timestamp": end,
                }
            )
            states.append({"flow_run_id": run_id, "type": kind, "name": name, "timestamp": end})
        await session.execute(insert(db.FlowRun), runs)
        await session.execute(insert(db.FlowRunState), states)
        current = select(db.FlowRunState.id).where(db.FlowRunState.flow_run_id == db.FlowRun.id).scalar_subquery()
        await session.execute(
            update(db.FlowRun)
            .where(db.FlowRun.deployment_id == deployment_id)
            .where(db.FlowRun.state_id.is_(None))
            .values(state_id=current)
        )
        # No run can be older than its deployment.
        created = {"created": now - PAST - HOUR}
        await session.execute(update(db.Deployment).where(db.Deployment.id == deployment_id).values(created))
        await session.execute(
            update(db.DeploymentSchedule).where(db.DeploymentSchedule.deployment_id == deployment_id).values(created)
        )


if __name__ == "__main__":
    asyncio.run(seed(UUID(sys.argv[1]), datetime.now(timezone.utc)))
