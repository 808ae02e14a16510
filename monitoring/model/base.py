"""The base of all values."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

#: A time with its zone, as the server or a saved document has it: far enough from the ends of the calendar to add and
#: subtract any duration.
Timestamp = Annotated[
    AwareDatetime,
    Field(gt=datetime(1900, 1, 1, tzinfo=timezone.utc), lt=datetime(9000, 1, 1, tzinfo=timezone.utc)),
]


class Value(BaseModel):
    """A frozen value; unknown fields, as an older or newer version may have written them, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
