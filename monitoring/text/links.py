"""Addresses of pages in the Prefect UI (in the formats of prefect/utilities/urls.py, ``UI_URL_FORMATS``)."""

from __future__ import annotations

from urllib.parse import quote


def flow_run_url(ui_url: str | None, flow_run_id: str) -> str | None:
    """The page of a flow run; None without a UI."""
    return _page(ui_url, "runs/flow-run", flow_run_id)


def flow_run_logs_url(ui_url: str | None, flow_run_id: str) -> str | None:
    """The logs of a flow run, a tab of its page in both of Prefect's UIs; None without a UI."""
    page = flow_run_url(ui_url, flow_run_id)
    return f"{page}?tab=Logs" if page else None


def deployment_url(ui_url: str | None, deployment_id: str) -> str | None:
    """The page of a deployment; None without a UI."""
    return _page(ui_url, "deployments/deployment", deployment_id)


def flow_url(ui_url: str | None, flow_id: str) -> str | None:
    """The page of a flow; None without a UI."""
    return _page(ui_url, "flows/flow", flow_id)


def work_pool_url(ui_url: str | None, name: str) -> str | None:
    """The page of a work pool, by name; None without a UI."""
    return _page(ui_url, "work-pools/work-pool", name)


def work_queue_url(ui_url: str | None, pool: str, queue: str) -> str | None:
    """The page of a work queue, by names; None without a UI.

    In both of Prefect's UIs the page is below that of the pool. Only the old UI has the address by id of
    ``UI_URL_FORMATS``.
    """
    page = work_pool_url(ui_url, pool)
    return f"{page}/queue/{quote(queue, safe='')}" if page else None


def concurrency_limits_url(ui_url: str | None) -> str | None:
    """The page of all tag and global concurrency limits; None without a UI."""
    return f"{ui_url.rstrip('/')}/concurrency-limits" if ui_url else None


def artifact_url(ui_url: str | None, key: str) -> str | None:
    """The page of all versions of an artifact, by key; None without a UI."""
    return _page(ui_url, "artifacts/key", key)


def automation_url(ui_url: str | None, automation_id: str) -> str | None:
    """The page of an automation; None without a UI."""
    return _page(ui_url, "automations/automation", automation_id)


def _page(ui_url: str | None, kind: str, name: str) -> str | None:
    return f"{ui_url.rstrip('/')}/{kind}/{quote(name, safe='')}" if ui_url else None
