"""The base of all values."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value; unknown fields, as an older or newer version may have written them, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
