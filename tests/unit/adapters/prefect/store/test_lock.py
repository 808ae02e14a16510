"""When a lock may be taken from its holder."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from monitoring.adapters.prefect.store.lock import Lease, LockVariable


@given(
    seconds=st.floats(min_value=0.001, max_value=1e9),
    age=st.floats(min_value=-1e9, max_value=1e9),
    updated=st.integers(0, 4 * 10**9).map(lambda second: datetime.fromtimestamp(second, timezone.utc)),
)
def test_expires_exactly_when_it_was_left_alone_for_longer_than_it_says(
    seconds: float, age: float, updated: datetime
) -> None:
    lease = Lease(holder="run", token="t", expiry_seconds=seconds)
    now = updated + timedelta(seconds=age)
    lock = LockVariable(id="lock", created=updated, updated=updated, value=lease.model_dump())
    assert lock.expired(now) is ((now - updated).total_seconds() > seconds)
    assert lock.model_copy(update={"value": "edited"}).expired(now)
