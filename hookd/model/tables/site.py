"""The table `site` of an app: its nginx site."""

from itertools import combinations
from typing import Self

from pydantic import Field, model_validator

from hookd.model.tables.fields import Domain, PlainPath, Section, UrlPrefix


class Site(Section):
    """The nginx site in front of the app."""

    domain: Domain | None = Field(None, description="The public domain. Default: no site.")
    max_body: int = Field(10, ge=1, le=10_240, description="Largest request in MiB.")
    static: dict[UrlPrefix, PlainPath] = Field(
        {}, description="Directories in the repository that nginx serves to everybody, by their URL prefix."
    )
    tls: bool = Field(
        True, description="HTTPS with your certificate, or with certbot's after `hookd setup --tls MAIL`."
    )

    @model_validator(mode="after")
    def _check_prefixes(self) -> Self:
        for first, second in combinations(sorted(self.static), 2):
            if second.startswith(first):
                raise ValueError(f"static prefixes that do not contain each other: {first}, {second}")
        return self
