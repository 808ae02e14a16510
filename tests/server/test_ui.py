"""The artifacts as people read them: in Prefect's own pages, in a browser."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest

from demo.stack import Server
from monitoring.adapters.prefect.client.api import open_api
from monitoring.adapters.prefect.publish.artifacts import PrefectArtifacts
from monitoring.model.policy import ApiSettings as Settings
from tests.support import samples
from tests.support.browser import page
from tests.support.noise import noise
from tests.support.seeding import Seed


@pytest.mark.parametrize("pages", ["", "/v2"], ids=["old pages", "new pages"])
def test_the_health_summary_is_a_page_of_tables_and_links(
    prefect_server: Server, seed: Seed, tmp_path: Path, pages: str
) -> None:
    noise(seed)
    report = samples.bad()
    run = seed.run(seed.deployment("watchdog-check/check"))
    with open_api(Settings()) as api:
        published = PrefectArtifacts(api, str(run.id)).publish_health(report, {})
    artifact = published["watchdog-health"].versions[-1].id

    shown = page(f"{prefect_server.ui_url}{pages}/artifacts/artifact/{artifact}", tmp_path)

    cells = [unescape(re.sub(r"<[^>]+>", "", cell)).strip() for cell in re.findall(r"<td.*?</td>", shown, re.DOTALL)]
    linked = set(re.findall(r'href="([^"]+)"', shown))
    for finding in report.findings:
        if finding.severity == "info":
            continue
        assert any(finding.subject.name.split("/")[0][:12] in cell for cell in cells), finding.subject.name
        assert finding.url is None or unescape(finding.url) in {unescape(link) for link in linked}
    # What hostile names would have done.
    assert not re.search(r"<(script|img)[^>]*(alert|onerror|evil)", shown)
