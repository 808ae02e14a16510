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
from tests.support.browser import evaluate, page
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


_OWNED = "document.documentElement.dataset.owned=1"
_HOSTILE = (
    f"<script>{_OWNED}</script><img src=x onerror='{_OWNED}'>"
    f"[go](javascript:{_OWNED})<a href='javascript:{_OWNED}'>go</a>"
)
#: What a page shows of a table: null until it is there.
_SHOWN = """(() => {
  const cells = [...document.querySelectorAll("td")];
  if (!cells.some((cell) => cell.textContent.includes("<script>"))) return null;
  const cut = (cell) => {
    const right = cell.getBoundingClientRect().right - 1;
    for (let box = cell.parentElement; box; box = box.parentElement) {
      const overflow = getComputedStyle(box).overflowX;
      if (overflow === "auto" || overflow === "scroll") return false;
      if (overflow !== "visible" && right > box.getBoundingClientRect().right) return true;
    }
    return right > document.documentElement.scrollWidth;
  };
  return {
    owned: document.documentElement.dataset.owned || null,
    links: [...document.querySelectorAll("a")].filter((link) => link.protocol === "javascript:").length,
    cells: cells.length,
    cut: cells.filter(cut).length,
  };
})()"""


@pytest.mark.parametrize("pages", ["", "/v2"], ids=["old pages", "new pages"])
def test_a_table_of_hostile_text_runs_nothing_and_hides_nothing(
    prefect_server: Server, seed: Seed, tmp_path: Path, pages: str
) -> None:
    finding = samples.finding("failed", f"etl/{_HOSTILE}", summary=_HOSTILE, observed=_HOSTILE, owner=_HOSTILE)
    report = samples.report(finding.model_copy(update={"url": f"javascript:{_OWNED}"}))
    run = seed.run(seed.deployment("watchdog-check/check"))
    with open_api(Settings()) as api:
        published = PrefectArtifacts(api, str(run.id)).publish_health(report, {})
    artifact = published["watchdog-findings"].versions[-1].id
    url = f"{prefect_server.ui_url}{pages}/artifacts/artifact/{artifact}"
    for width in (1280, 1440):
        shown = evaluate(url, tmp_path / str(width), width, _SHOWN)
        assert shown["cells"] >= 16
        assert (shown["owned"], shown["links"], shown["cut"]) == (None, 0, 0), width
