"""The tables `shared` and `ownership` of an app: its files outside of releases, and the owners of all of them."""

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from hookd.model.tables.fields import AbsolutePath, Account, InsidePath, Section


class Shared(Section):
    """Files and directories that outlive releases. Each release links to them."""

    root: AbsolutePath | None = Field(None, description="Their directory. Default: `shared` below the app's root.")
    data: AbsolutePath | None = Field(None, description="The parent of the directories. Default: the same as `root`.")
    files: tuple[InsidePath, ...] = Field((), description="Files, such as `.env`. A deployment needs each.")
    directories: tuple[InsidePath, ...] = Field((), description="Directories, such as `uploads`, created if missing.")

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        paths = sorted(f"{path}/" for path in (*self.files, *self.directories))
        for first, second in pairwise(paths):
            if second.startswith(first):
                raise ValueError(
                    f"link points that do not contain each other: {first.rstrip('/')}, {second.rstrip('/')}"
                )
        return self


class Ownership(Section):
    """The readers of a release."""

    policy: Literal["group", "split", "acl"] = Field(
        "group",
        description="Owners and modes of releases, as in docs/server.md.",
    )
    user: Account = Field("www-data", description="The app's user, as in docs/server.md.")
    group: Account = Field(
        default_factory=lambda known: str(known["user"]),
        description="The group of code and data. Default: named like the user.",
    )
