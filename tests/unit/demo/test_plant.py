from __future__ import annotations

from datetime import timedelta

from prefect import Flow

import demo.workloads
from demo.plant import LIMIT_SECONDS, MISSED_HEARTBEATS, STORIES, Story
from demo.stage import WATCHDOG_CONFIG
from monitoring.checks.concurrency import CHECK as CONCURRENCY
from monitoring.checks.late import CHECK as LATE
from monitoring.checks.slow import CHECK as SLOW
from monitoring.checks.stuck import CHECK as STUCK
from monitoring.checks.work_pool import CHECK as WORK_POOL
from monitoring.checks.zombie import CHECK as ZOMBIE
from monitoring.config.settings import Policy
from monitoring.config.source import load_policies

POLICIES = load_policies(environ=WATCHDOG_CONFIG, read_pushed=lambda: None)


def policy(story: Story) -> Policy:
    return POLICIES.of(story.workload.name, pool=story.workload.pool)


def stories(check: str) -> list[Story]:
    found = [story for story in STORIES if story.check == check]
    assert found
    return found


def test_every_workload_is_a_flow_of_its_name() -> None:
    for story in STORIES:
        flow = getattr(demo.workloads, story.workload.flow.replace("-", "_"))
        assert isinstance(flow, Flow)
        assert flow.name == story.workload.flow


def test_no_workload_is_listed_twice() -> None:
    assert len({story.workload.flow for story in STORIES}) == len(STORIES)


def test_the_stories_wait_as_long_as_the_configuration_says() -> None:
    limit = timedelta(seconds=LIMIT_SECONDS)
    assert {SLOW.settings(policy(story)).limit for story in stories("slow")} == {limit}
    assert {LATE.settings(policy(story)).after for story in stories("late")} == {limit}
    assert {WORK_POOL.settings(policy(story)).after for story in stories("late")} == {limit}
    assert {CONCURRENCY.settings(policy(story)).after for story in stories("late")} == {limit}
    assert {STUCK.settings(policy(story)).pending_after for story in stories("stuck")} == {limit}
    assert {ZOMBIE.settings(policy(story)).missed_heartbeats for story in stories("zombie")} == {MISSED_HEARTBEATS}


def test_only_what_runs_too_long_has_a_limit() -> None:
    assert [story for story in STORIES if SLOW.settings(policy(story)).limit] == stories("slow")
