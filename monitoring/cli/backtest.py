"""``watchdog backtest``: the incidents that this or another configuration would have opened in the last days."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo

from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from monitoring.cli.session import Address, configuration, open_session
from monitoring.cli.terminal import reports_errors
from monitoring.config.policy import Policies
from monitoring.messages import terminal
from monitoring.text.redaction import Redactor
from monitoring.tuning.backtest import History, Replay, compare, replay
from monitoring.tuning.backtest_message import backtest_message

if TYPE_CHECKING:
    from monitoring.adapters.prefect.read.past_runs import DaysRead

_MAX_DAYS = 90


@reports_errors
def backtest(
    *,
    days: Annotated[
        int, Parameter(validator=Number(gte=1, lte=_MAX_DAYS), help="Number of days to replay, 1 to 90.")
    ] = 14,
    config: Annotated[str | None, Parameter(help="Another configuration file to compare with.")] = None,
    target: Address = None,
) -> int:
    """Run ``watchdog backtest``; its help is in ``monitoring.cli``."""
    from monitoring.adapters.prefect.read.past_runs import read_history

    now = datetime.now(timezone.utc).replace(microsecond=0)
    first = configuration(None, target)
    other = configuration(config, target) if config else None
    settings = first.config
    with _progress() as progress:
        with open_session(first, target) as server:
            task = progress.add_task("Reading", total=None)

            def read(so_far: DaysRead) -> None:
                progress.update(
                    task, completed=so_far.days, total=so_far.of, description=f"Reading: {so_far.runs:,} runs"
                )

            both = [first, other] if other else [first]
            patterns = tuple(pattern for policies in both for pattern in policies.config.redact.patterns)
            history = read_history(server.api, settings, Redactor(patterns).redact, both, now, days, read)
        replays = [_replayed(history, policies, progress) for policies in both]
    apart = compare(*replays) if len(replays) > 1 else None
    zone = ZoneInfo(settings.digest.time_zone)
    message = backtest_message(history, replays[0], zone, replays[1] if apart else None, apart)
    terminal.show(terminal.console(sys.stdout), message)
    return 0


def _replayed(history: History, policies: Policies, progress: Progress) -> Replay:
    task = progress.add_task("Replaying", total=len(history.deployments))
    return replay(history, policies, lambda done: progress.update(task, completed=done))


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show progress on stderr if it is a terminal; stdout stays clean."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(
        *columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        yield progress
