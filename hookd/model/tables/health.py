"""The table `health` of an app: the check that makes a release good."""

from pydantic import Field

from hookd.model.tables.fields import HealthStatus, HealthUrl, Section


class Health(Section):
    """The health check that makes a release good."""

    url: HealthUrl = Field(
        ..., description="`http://HOST:PORT/path` or `unix:/path.sock:/path`. `{colour}` stands for blue or green."
    )
    status: HealthStatus = Field(
        200, description="The status that means healthy. `<500`: any below, such as a redirect or a login."
    )
    host: str = Field(
        "localhost", pattern=r"^[A-Za-z0-9.:\[\]-]{1,255}$", description="The Host header of the request."
    )
    successes: int = Field(3, ge=1, le=100, description="Required healthy answers in a row.")
    steady: float = Field(1, ge=0, le=300, description="Seconds that gunicorn stays healthy, and each new process up.")
    deadline: float = Field(30, gt=0, le=600, description="Seconds until a release without healthy answers is bad.")
    timeout: float = Field(5, gt=0, le=120, description="Seconds for one answer.")

    def accepts(self, status: int) -> bool:
        """Return True for a status that means healthy."""
        return status < 500 if self.status == "<500" else status == self.status

    def url_of(self, colour: str | None) -> str:
        """Return the URL of the service of a colour, or of the only one."""
        return self.url.replace("{colour}", colour or "")
