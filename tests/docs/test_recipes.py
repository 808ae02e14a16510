"""The recipes for contributors hold: each is followed on a copy of the project, and does what it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.paths import PROJECT
from tests.support.recipes import RECIPES, edits, follow, python
from tests.unit.test_architecture import LADDER

NAMES = [path.name for path in sorted(RECIPES.glob("add-*.md"))]
PAGES = {path.relative_to(RECIPES).as_posix(): path.read_text() for path in sorted(RECIPES.rglob("*.md"))}
#: What a code span of the pages may name: a file, a folder, or something that the code defines.
WATCHDOG = "from monitoring.cli import main; main()"
FILE = re.compile(r"[\w.-]*/[\w./-]+|[\w-]+\.(?:py|toml|md|yaml)")


def spans(page: str) -> set[str]:
    prose = re.sub(r"^ *```.*?^ *```", "", page, flags=re.MULTILINE | re.DOTALL)
    return set(re.findall(r"`([^`\n]+)`", prose))


def places(page: str) -> set[str]:
    """The files and folders that a page names, besides those that a recipe makes up."""
    return {span for span in spans(page) if FILE.fullmatch(span) and "example" not in span}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    roots = (PROJECT, PROJECT / "monitoring", PROJECT / "monitoring/config")

    assert [place for place in places(PAGES[page]) if not any((root / place).exists() for root in roots)] == []


@pytest.mark.parametrize("name", [*NAMES, "map.md"])
def test_every_definition_that_is_named_exists(name: str) -> None:
    folders = [PROJECT / "monitoring", PROJECT / "tests"]
    sources = "\n".join(path.read_text() for folder in folders for path in folder.rglob("*.py"))
    words = {span for span in spans(PAGES[name]) if re.fullmatch(r"[A-Za-z_]+", span) and "example" not in span.lower()}

    # Two rooms are reserved.
    assert [word for word in words - set(LADDER) if not re.search(rf"\b{word}\b", sources)] == []


def test_the_map_has_the_ladder_of_rooms_in_its_order() -> None:
    _, _, rooms = PAGES["map.md"].partition("## The rooms of the library")

    assert re.findall(r"^- `(\w+)`: ", rooms.partition("\n## ")[0], re.MULTILINE) == list(LADDER)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_short_and_shows_what_to_write(name: str) -> None:
    assert 3 <= len(re.findall(r"^\d+\. ", PAGES[name], re.MULTILINE)) <= 9
    assert list(edits(PAGES[name]))


RUN_TESTS = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.integration
@pytest.mark.parametrize("name", ["add-a-metric.md", "add-a-setting.md", "add-an-artifact.md"])
def test_the_tests_that_a_recipe_names_pass(name: str, tmp_path: Path) -> None:
    [paths] = re.findall(r"^Check it: `pytest ([^`]+)`", PAGES[name], re.MULTILINE)

    python(follow(name, tmp_path), RUN_TESTS, "-q", "--ignore", "tests/docs/test_recipes.py", *paths.split())


SETTINGS_DOCUMENTED = """
from tests.unit.config.test_settings import *
test_the_documentation_has_every_field_as_it_is_and_no_other()
"""


@pytest.mark.integration
def test_a_setting_is_configured_shown_and_documented(tmp_path: Path) -> None:
    copy = follow("add-a-setting.md", tmp_path)
    (copy / "watchdog.yaml").write_text("rules:\n  - match: {tag: hourly}\n    late: {example: 2m}\n")

    shown = python(copy, WATCHDOG, "config", "show", WATCHDOG_LATE__EXAMPLE="3m")

    assert re.search(r"late\.example +3m +environment WATCHDOG_LATE__EXAMPLE", shown)
    python(copy, SETTINGS_DOCUMENTED)


MEASURE = """
from monitoring.metrics.openmetrics import openmetrics
from tests.support.builders import deployment, observation
from tests.unit.metrics.test_catalog import test_the_documentation_has_every_metric_as_it_is_and_no_other as documented
from tests.unit.metrics.test_measure import measured
documented()
print(openmetrics(measured(observation(deployments=[deployment()]))).decode())
"""


@pytest.mark.integration
def test_a_metric_is_measured_and_documented(tmp_path: Path) -> None:
    copy = follow("add-a-metric.md", tmp_path)

    measured = python(copy, MEASURE)

    assert "# HELP prefect_watchdog_deployment_example An example.\n" in measured
    assert re.search(
        r'^prefect_watchdog_deployment_example\{deployment=".+",target=".+"\} 1\.0$', measured, re.MULTILINE
    )


PUBLISH = """
from monitoring.adapters.prefect.publish.artifacts import PrefectArtifacts
from tests.support import samples
class Api:
    def query(self, path, body, kind):
        print(path, body["key"], body["type"], body["description"])
        return kind.model_validate({"id": body["key"], "created": "2026-03-10T07:00:00Z"})
print(sorted(PrefectArtifacts(Api(), "run").publish_health(samples.bad(), {})))
"""


@pytest.mark.integration
def test_an_artifact_is_published_and_registered(tmp_path: Path) -> None:
    published = python(follow("add-an-artifact.md", tmp_path), PUBLISH)

    assert "/artifacts/ watchdog-example markdown An example.\n" in published
    assert "['watchdog-example', 'watchdog-findings', 'watchdog-health']" in published


JUDGE = """
from monitoring.checks.registry import run_checks
from monitoring.history.ledger import fold
from monitoring.messages.json_contract import check_json
from monitoring.model.ledger import Ledger
from tests.support import samples
from tests.support.builders import deployment, observation, policies
seen = observation(deployments=[deployment()])
[finding] = [found for found in run_checks(seen, fold(Ledger(), seen), policies()) if found.check == "example"]
[shown] = check_json(samples.bad().model_copy(update={"findings": (finding,)}))["findings"]
print(shown["check"], shown["severity"], shown["summary"])
"""


@pytest.mark.integration
def test_a_check_judges_and_is_configured(tmp_path: Path) -> None:
    copy = follow("add-a-check.md", tmp_path)
    (copy / "watchdog.yaml").write_text("rules: [{match: {tag: sandbox}, example: {enabled: false}}]\n")

    assert python(copy, JUDGE) == "example warning etl/nightly: too few tags\n"
    assert "example.enabled" in python(copy, WATCHDOG, "config", "show")


SEND = """
from monitoring.wiring import Session
from tests.support.alert_samples import FAILED, content, delivery
from tests.support.builders import NOW, policies
routes = [{"name": "archive", "match": {"check": "failed"}, "example_path": "sent.txt"}]
session = Session(None, policies(routes=routes), NOW)
session.notifier("archive").post(delivery(content("opened", FAILED)), None)
"""


@pytest.mark.integration
def test_a_receiver_gets_notifications(tmp_path: Path) -> None:
    copy = follow("add-a-receiver.md", tmp_path)

    python(copy, SEND)

    assert "etl/nightly: failed 3 times in a row (prod)" in (copy / "sent.txt").read_text()
