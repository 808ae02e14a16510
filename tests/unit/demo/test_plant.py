from __future__ import annotations

from datetime import timedelta

from prefect import Flow

import demo.workloads
from demo.plant import LIMIT_SECONDS, MISSED_HEARTBEATS, STORIES, Story
from demo.stage import WATCHDOG_CONFIG
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


def test_no_workload_is_told_of_twice() -> None:
    assert len({story.workload.flow for story in STORIES}) == len(STORIES)


def test_the_stories_wait_as_long_as_the_configuration_says() -> None:
    limit = timedelta(seconds=LIMIT_SECONDS)
    assert {policy(story).slow.limit for story in stories("slow")} == {limit}
    assert {policy(story).late.after for story in stories("late")} == {limit}
    assert {policy(story).work_pool.after for story in stories("late")} == {limit}
    assert {policy(story).concurrency.after for story in stories("late")} == {limit}
    assert {policy(story).stuck.pending_after for story in stories("stuck")} == {limit}
    assert {policy(story).zombie.missed_heartbeats for story in stories("zombie")} == {MISSED_HEARTBEATS}


def test_only_what_runs_too_long_has_a_limit() -> None:
    assert [story for story in STORIES if policy(story).slow.limit] == stories("slow")
