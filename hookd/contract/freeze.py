"""A frozen app: pushes are recorded, nothing is deployed, and everyone sees why."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Freeze(BaseModel):
    """Who froze an app, since when, why, and until when; for good when `until` is None."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reason: str = Field(min_length=1, max_length=300)
    since: AwareDatetime
    until: AwareDatetime | None = None
    by: str = Field("", max_length=64)

    def holds(self, now: datetime) -> bool:
        """Tell whether it is in force."""
        return self.until is None or now < self.until

    def __str__(self) -> str:
        by = f" by {self.by}" if self.by else ""
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"frozen since {self.since:%Y-%m-%d %H:%M} UTC{by}{until}: {self.reason}"
