"""The table `limits` of an app: the longest times and the least space of a deployment."""

from pydantic import Field

from hookd.model.tables.fields import Section


class Limits(Section):
    """Limits of a deployment."""

    step_seconds: float = Field(600, gt=0, le=86_400, description="Longest run of one command.")
    silence_seconds: float = Field(120, gt=0, le=86_400, description="Longest silence of one command.")
    git_seconds: float = Field(300, gt=0, le=86_400, description="Longest run of one git command.")
    deploy_seconds: int = Field(
        1800, gt=0, le=86_400, description="Longest run of a deployment without its release phase."
    )
    lock_seconds: float = Field(60, gt=0, le=3600, description="Longest wait for another deployment of this app.")
    free_mib: int = Field(512, ge=1, description="Free space, in MiB, below which no deployment starts.")
    free_inodes: int = Field(10_000, ge=0, description="Free inodes below which no deployment starts.")
    keep_releases: int = Field(5, ge=2, le=100, description="Good releases kept on disk.")
