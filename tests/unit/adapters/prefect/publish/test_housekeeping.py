"""Which versions of artifacts are old."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from monitoring.adapters.prefect.publish.housekeeping import old_versions
from monitoring.model.saved_state import Published, PublishedArtifact

NOW = datetime.now(timezone.utc)


def artifact(*ages: timedelta) -> PublishedArtifact:
    versions = tuple(Published(id=f"{n}", created=NOW - age) for n, age in enumerate(sorted(ages, reverse=True)))
    return PublishedArtifact(identity="i", versions=versions)


@given(st.lists(st.timedeltas(timedelta(0), timedelta(days=20)), max_size=8))
def test_old_versions_are_all_that_are_old_but_the_newest(ages: list[timedelta]) -> None:
    published = artifact(*ages)
    gone = set(old_versions([published], NOW - timedelta(days=7)))
    for version in published.versions:
        newest = version is published.versions[-1]
        assert (version.id in gone) is (not newest and NOW - version.created >= timedelta(days=7))
