"""The parts of a repository that are deployed, and how often it is polled."""

from pydantic import Field

from hookd.model.tables.fields import Pattern, Section


class Checkout(Section):
    """The parts of a commit that lie outside of its repository."""

    submodules: bool = Field(True, description="Fetch submodules. `false` leaves their directories empty.")
    lfs: bool = Field(True, description="Fetch the files that git-lfs stores. `false` leaves their pointers.")


class Paths(Section):
    """The paths whose changes are deployed, as git patterns from the top: `src/**`, `*.py`, `docs`."""

    include: tuple[Pattern, ...] = Field((), description="A head that changes none of these is skipped. Default: all.")
    exclude: tuple[Pattern, ...] = Field((), description="A head that changes only these is skipped, such as `docs`.")


class Reconcile(Section):
    """The interval of git host polls, which find pushes whose webhook was lost."""

    every: int = Field(
        180, ge=0, le=86_400, description="Longest seconds until a lost push is found. 0 turns polling off."
    )
