"""Posting the digest: what may work later is tried again, and nothing is said twice."""

from __future__ import annotations

import pytest

from monitoring.errors import DeliveryError
from monitoring.model.report import DigestReport
from monitoring.usecases.digest import deliver
from tests.support import samples

REPORT = samples.digest(samples.healthy())
BUSY = DeliveryError("busy", permanent=False)
REFUSED = DeliveryError("refused", permanent=True)
DOUBTFUL = DeliveryError("no answer in time", permanent=False, doubtful=True)


class Channel:
    """Answers as it was told to; after that it posts."""

    def __init__(self, *answers: DeliveryError) -> None:
        self.answers = list(answers)
        self.asked = 0

    def post_digest(self, report: DigestReport) -> None:
        self.asked += 1
        if self.answers:
            raise self.answers.pop(0)


def test_a_busy_channel_is_asked_again_after_each_wait() -> None:
    channel, slept = Channel(BUSY, BUSY), list[float]()
    deliver(channel, REPORT, (5, 60), slept.append)
    assert (channel.asked, slept) == (3, [5, 60])


def test_a_channel_that_stays_busy_is_given_up() -> None:
    channel, slept = Channel(*[BUSY] * 9), list[float]()
    with pytest.raises(DeliveryError, match="busy"):
        deliver(channel, REPORT, (5, 60), slept.append)
    assert (channel.asked, slept) == (3, [5, 60])


@pytest.mark.parametrize("error", [REFUSED, DOUBTFUL])
def test_what_cannot_work_or_may_have_worked_is_not_tried_again(error: DeliveryError) -> None:
    channel, slept = Channel(error), list[float]()
    with pytest.raises(DeliveryError, match=str(error)):
        deliver(channel, REPORT, (5, 60), slept.append)
    assert (channel.asked, slept) == (1, [])
