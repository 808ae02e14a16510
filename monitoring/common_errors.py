"""One error in many deployments is one problem: the findings that show it, put under one."""

from __future__ import annotations

from collections.abc import Sequence

from monitoring.model import Finding, Ledger, Observation


def with_common_errors(findings: Sequence[Finding], observation: Observation, ledger: Ledger) -> Sequence[Finding]:
    """Put failures of one new error in several deployments under one finding about the error.

    Args:
        findings: What was found; those about failures carry no cause of their own yet.
        observation: What was seen.
        ledger: Knows the error of each deployment's latest failure.
    """
    return findings
