"""A check or a digest dies anywhere, and no message is lost: the next check sends it, and hardly anything twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from demo.stack import Server
from monitoring.notifications.events import OPENED
from tests.conftest import ServerFactory
from tests.support.killing import FINE, Stage, killed, staged
from tests.support.slack import SlackEmulator


def assert_each_event_is_stored_once(stage: Stage) -> None:
    stored = stage.events()
    opened = {about for name, about in stored if name == OPENED}
    assert opened == {name for about, name in stage.notified if about == "fired"}
    assert set(stored.values()) == {1}


def test_a_run_that_is_killed_loses_no_message_and_repeats_none_when_it_can_look(
    prefect_server: Server, slack_emulator: SlackEmulator, tmp_path: Path
) -> None:
    with staged(prefect_server, slack_emulator, tmp_path) as stage:
        deaths = list(killed(stage, 20))
        assert [death for death in deaths if death.after != FINE] == []
        assert len({(death.kind, death.at) for death in deaths}) >= 18
        assert any("digest" in death.kind and not death.rerun for death in deaths)
        assert stage.unseen() == set()
        assert_each_event_is_stored_once(stage)


def test_a_run_that_is_killed_repeats_at_most_one_message_when_it_cannot_look(
    prefect_server: Server, slack_emulator: SlackEmulator, tmp_path: Path
) -> None:
    with staged(prefect_server, slack_emulator, tmp_path, blind=True) as stage:
        deaths = list(killed(stage, 8))
        deaths.append(stage.kill_on("chat.postMessage is sent"))
        assert [death for death in deaths if replace(death.after, repeats=0) != FINE or death.after.repeats > 1] == []
        assert deaths[-1].after.repeats == 1, "what was being sent when it died is sent again"
        assert stage.unseen() == set()


def test_a_run_that_is_killed_together_with_the_server_loses_no_message(
    fresh_server: ServerFactory, slack_emulator: SlackEmulator, tmp_path: Path
) -> None:
    with staged(fresh_server(), slack_emulator, tmp_path) as stage:
        deaths = list(killed(stage, 8, with_server=True))
        assert [death for death in deaths if death.after != FINE] == []
        assert stage.unseen() == set()
        stage.settle()
        assert_each_event_is_stored_once(stage)
