"""The documentation holds: what it names exists, and what exists is named."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import pytest
import yaml
from cyclopts import App

from monitoring import cli
from monitoring.adapters.prefect.publish.artifacts import ARTIFACTS
from monitoring.adapters.prefect.store.documents import SLUG
from monitoring.adapters.prefect.store.lock import NAME as LOCK
from monitoring.checks.registry import BY_NAME
from monitoring.config.settings import Policy
from monitoring.model.coverage import ALWAYS_QUERIED
from monitoring.model.fields import Section
from monitoring.model.incident import ResolutionReason
from tests.corpus.scenario import scenarios
from tests.support.paths import PROJECT

FILES = [PROJECT / "README.md", PROJECT / "SECURITY.md", *sorted((PROJECT / "docs").rglob("*.md"))]
#: Every page, by its path from the project's folder.
PAGES = {path.relative_to(PROJECT).as_posix(): path.read_text() for path in FILES}
README = PAGES["README.md"]
CHECKS = PAGES["docs/checks.md"]
ALL = "\n".join(PAGES.values())
MAX_WIDTH = 120
#: About a screen.
MAX_README_LINES = 80


def commands(app: App, *before: str) -> Iterable[str]:
    """Every command of the command line, as a person types it."""
    for name in app:
        if name.startswith("-"):
            continue
        if app[name].default_command:
            yield " ".join((*before, name))
        else:
            yield from commands(app[name], *before, name)


COMMANDS = sorted(commands(cli.app, "watchdog"))


def test_there_are_commands_at_all() -> None:
    assert "watchdog config push" in COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"`{command}`" in PAGES["docs/command-line.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_the_docs_exists(page: str) -> None:
    command = r"(watchdog (?:config |incidents |silence |automation |metrics |notify )?[a-z]+)"
    fenced = "\n".join(re.findall(r"```bash\n(.*?)```", PAGES[page], re.DOTALL))
    named = re.findall(rf"`{command}", PAGES[page]) + re.findall(rf"^{command}", fenced, re.MULTILINE)

    assert [name for name in named if name not in COMMANDS] == []
    assert named or page not in ("docs/installation.md", "docs/configuration.md")


def make_targets() -> list[str]:
    return re.findall(r"^([a-z-]+):.*## ", (PROJECT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("target", make_targets())
def test_make_help_names_every_target(target: str) -> None:
    shown = subprocess.run(["make", "help"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout

    assert re.search(rf"^{target} ", shown, re.MULTILINE)


def test_every_make_target_in_the_docs_exists() -> None:
    named = set(re.findall(r"(?:^|`|&& )make ([a-z-]+)", ALL, re.MULTILINE))

    assert named >= {"demo", "test", "test-all", "lint", "setup", "clean", "lock"}
    assert named <= set(make_targets())


def test_ci_calls_the_documented_test_commands() -> None:
    script = (PROJECT / ".ci/run").read_text()

    # The demo is in `make test-all`: tests/server/test_demo.py.
    for command in ("make lint", "make test", "make test-all"):
        assert command in script
        assert command in PAGES["docs/contributing/README.md"]


def deployments() -> list[tuple[str, dict[str, object]]]:
    document = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
    return [(f"watchdog-{entry['name']}/{entry['name']}", entry) for entry in document["deployments"]]


@pytest.mark.parametrize(("name", "entry"), deployments())
def test_every_deployment_is_in_the_readme(name: str, entry: dict[str, object]) -> None:
    assert f"`{name}`" in README
    assert (PROJECT / str(entry["entrypoint"]).split(":")[0]).exists()


def test_every_deployment_in_the_docs_exists() -> None:
    assert (
        set(re.findall(r"watchdog-[a-z]+/[a-z]+\b(?!-)", ALL)) - {"watchdog-document/config"}
        == dict(deployments()).keys()
    )


@pytest.mark.parametrize("check", BY_NAME)
def test_every_check_is_documented(check: str) -> None:
    assert f"`{check}`" in README
    assert f"[`{check}`]" in CHECKS


def test_every_check_in_the_docs_exists() -> None:
    assert set(re.findall(r"^\| \[`([a-z-]+)`\]", CHECKS, re.MULTILINE)) == set(BY_NAME)
    sections = {name for name, value in Policy() if isinstance(value, Section)} | {"server", "watchdog"}
    assert {name.replace("_", "-") for name in sections} == set(BY_NAME)


@pytest.mark.parametrize("word", [*ALWAYS_QUERIED, *get_args(ResolutionReason), *ARTIFACTS, SLUG, LOCK])
def test_what_people_meet_on_their_server_is_documented(word: str) -> None:
    assert f"`{word}`" in ALL


def test_every_query_is_documented() -> None:
    sources = "\n".join(path.read_text() for path in (PROJECT / "monitoring/adapters/prefect").rglob("*.py"))
    methods = "query|rows|read|by_id|first|values|runs|first_runs|runs_by_id|count|note"
    asking = rf"(?:\.(?:{methods})|_watched|_present_stretch)"
    queries = set(re.findall(rf'{asking}\(\s*(?:collection, )?"([a-z-]+)"', sources))

    assert queries >= {"heartbeats", "child-runs", "last-success", "slot-waits", *ALWAYS_QUERIED}
    assert [name for name in queries if f"`{name}`" not in PAGES["docs/how-it-works.md"]] == []


def links(page: str) -> list[str]:
    """The links of a page into the project, code left out."""
    prose = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\((?!https?:)([^)]+)\)", prose)


def anchors(page: str) -> set[str]:
    """The headings of a page as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    for link in links(PAGES[page]):
        path, _, anchor = link.partition("#")
        target = ((PROJECT / page).parent / path).resolve() if path else PROJECT / page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES)
def test_every_page_can_be_reached_from_the_readme(page: str) -> None:
    reached, waiting = set[str](), ["README.md"]
    while waiting:
        reached.add(current := waiting.pop())
        for path in (link.partition("#")[0] for link in links(PAGES[current])):
            if not path.endswith(".md"):
                continue
            linked = ((PROJECT / current).parent / path).resolve().relative_to(PROJECT).as_posix()
            waiting += [linked] if linked not in reached else []
    assert page in reached


@pytest.mark.parametrize("path", [*FILES, PROJECT / "CHANGELOG.md"], ids=lambda path: str(path.relative_to(PROJECT)))
def test_lines_fit_a_screen(path: Path) -> None:
    assert [line for line in path.read_text().splitlines() if len(line) > MAX_WIDTH] == []


def test_the_readme_fits_a_screen() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES


def test_the_docs_count_the_labelled_servers_as_they_are() -> None:
    labelled = list(scenarios())
    planted = sum(len(scenario.expect) for scenario in labelled)

    assert f"| {len(labelled)} | {planted} | {planted} | 0 | 1.00 | 1.00 |" in CHECKS
    assert f"{len(labelled)} labelled servers" in README
