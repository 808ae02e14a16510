"""A message outlives the process that built it."""

from __future__ import annotations

from hypothesis import given

from monitoring.model.message import Message, inline, strong
from tests.support.message_samples import everything
from tests.unit.text.test_escaping import NASTY


@given(NASTY)
def test_a_saved_message_is_the_same_after_loading(text: str) -> None:
    message = everything(text)
    # The state leaves out what is None.
    assert Message.model_validate_json(message.model_dump_json(exclude_none=True)) == message


def test_an_empty_part_is_no_span() -> None:
    assert inline("", "a", strong("")) == inline("a")
