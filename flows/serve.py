"""Serves the deployments of prefect.yaml from one long-lived process, in place of a work pool and a worker.

``python flows/serve.py`` creates the deployments and runs them until it is stopped. Where a work pool would start a
container for every run, this is a single container.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Serve until stopped."""
    # Python would print a traceback for a Ctrl-C before Prefect handles it, even while Prefect is imported.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from prefect import serve

    _verify_server()
    # Entrypoints are relative to this folder, and the processes of the runs start here.
    os.chdir(ROOT)
    document = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    deployments = []
    for entry in document["deployments"]:
        os.environ.update(entry["work_pool"]["job_variables"]["env"])
        deployments.append(asyncio.run(_deployment(entry)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # A pause would outlive this process: neither a worker nor `prefect deploy` ends it.
        serve(*deployments, pause_on_shutdown=False)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _verify_server() -> None:
    """Exit with one line if the server cannot be used; Prefect would print tracebacks.

    Without an address Prefect would start a temporary server of its own, which nobody uses.
    """
    # Ours, even if a package of the same name is on the path.
    sys.path.insert(0, str(ROOT))
    from monitoring.adapters.prefect.client.api import open_api
    from monitoring.errors import WatchdogError
    from monitoring.model.policy import ApiSettings

    try:
        with open_api(ApiSettings()) as api:
            api.post("/deployments/count", {})
    except WatchdogError as error:
        sys.exit(str(error))


async def _deployment(entry: dict[str, Any]) -> RunnerDeployment:
    from prefect.deployments.runner import RunnerDeployment
    from prefect.events import DeploymentEventTrigger
    from prefect.runner.storage import LocalStorage
    from prefect.schedules import Schedule

    deployment = await RunnerDeployment.afrom_storage(
        # Without a storage, a deployment that `prefect deploy` created could not be served: its path stays empty.
        LocalStorage(str(ROOT)),
        entry["entrypoint"],
        name=entry["name"],
        description=entry["description"],
        tags=entry["tags"],
        parameters=entry.get("parameters"),
        schedules=[Schedule(**schedule) for schedule in entry["schedules"]],
        triggers=[DeploymentEventTrigger.model_validate(trigger) for trigger in entry.get("triggers", ())],
    )
    # Set explicitly, to remove the deployment from a work pool that it may be in, whose workers would take its runs.
    deployment.work_pool_name = deployment.work_queue_name = None
    return deployment


if __name__ == "__main__":
    main()
