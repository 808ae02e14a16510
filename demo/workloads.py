"""The workloads of the demo: one flow for each way of succeeding or failing.

They are ordinary flows that know nothing of the watchdog. ``demo/plant.py`` does to them what a flow cannot do to
itself, such as losing its host or being cancelled by a person, and lists the expected findings.
"""

from __future__ import annotations

import time

from prefect import flow
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import flow_run

# Long enough to be stopped before it ends.
A_DAY = 24 * 60 * 60
# Contains a secret that the watchdog must never repeat.
RATES_URL = "https://reader:open-sesame@rates.example/v1"


@flow
def healthy() -> str:
    """Succeed."""
    return "all is well"


@flow
def fails() -> None:
    """Fail with a traceback and a password in the message."""
    rates = {"EUR": 1.0, "USD": 1.1}
    raise LookupError(f"no exchange rate for GBP at {RATES_URL}, only for {', '.join(rates)}")


@flow(retries=1, retry_delay_seconds=1)
def succeeds_on_retry() -> str:
    """Fail at the first attempt and succeed at the second."""
    if flow_run.run_count == 1:
        raise ConnectionError("the warehouse hung up")
    return "the warehouse was there again"


@flow(flow_run_name="invoices-of-monday")
def load_invoices() -> None:
    """Fail, as a part of other flows."""
    raise ValueError("invoice 4711 has no customer")


@flow
def falls_with_subflow() -> None:
    """Fail because a subflow fails."""
    load_invoices()


@flow
def survives_subflow() -> str:
    """Complete although a subflow fails."""
    return f"loading the invoices: {load_invoices(return_state=True).name}"


@flow
def takes(seconds: int = A_DAY) -> None:
    """Take its time."""
    time.sleep(seconds)


# The same flow, named after what happens to it.
crashes = takes.with_options(name="crashes")
loses_its_host = takes.with_options(name="loses-its-host")
running_too_long = takes.with_options(name="running-too-long")
ran_too_long = takes.with_options(name="ran-too-long")
never_gets_going = takes.with_options(name="never-gets-going")
waits_for_a_worker = takes.with_options(name="waits-for-a-worker")
waits_for_a_slot = takes.with_options(name="waits-for-a-slot")
cancelled_by_hand = takes.with_options(name="cancelled-by-hand")
no_success_for_days = takes.with_options(name="no-success-for-days")
paused_on_purpose = takes.with_options(name="paused-on-purpose")
rests_in_an_idle_pool = takes.with_options(name="rests-in-an-idle-pool")


@flow
def awaits_approval() -> None:
    """Wait for a person to resume it."""
    suspend_flow_run(timeout=A_DAY)
