"""Files that an app wrote into a release, where they would be lost with it."""

import re
from typing import Final

from pydantic import BaseModel

from hookd.model.app import App
from hookd.model.hint import Hint, HintKind
from hookd.model.ids import ReleaseName
from hookd.model.text import printable

MAX_SHOWN: Final = 5
_PART: Final = r"(?!\.\.?(?:/|$))[\w.][\w.@+-]*"
_SHAREABLE: Final = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)


class WrittenFiles(BaseModel, frozen=True):
    """Files of a release that neither its commit nor its build made, or that changed since.

    `paths` are the first of `number`. `directories` have such files alone, so that they can be shared. `kept` is True
    if the release is gone and its files are kept beside the releases.
    """

    release: ReleaseName
    number: int
    paths: tuple[str, ...]
    directories: tuple[str, ...] = ()
    kept: bool = False

    def __str__(self) -> str:
        more = f" and {self.number - len(self.paths)} more" if self.number > len(self.paths) else ""
        verb = "was" if self.number == 1 else "were"
        kept = ", which is gone, and kept" if self.kept else ""
        return f"{printable(', '.join(self.paths))}{more} {verb} written into the release {self.release}{kept}"

    def _undeclared(self, app: App) -> tuple[str, ...]:
        """Return the directories that are not shared yet."""
        shared = app.shared.directories
        return tuple(name for name in self.directories if not any(f"{name}/".startswith(f"{one}/") for one in shared))

    def hint(self, app: App) -> Hint | None:
        """Return the command that shares the directories, or None if nothing is left to share."""
        names = [name for name in self._undeclared(app) if _SHAREABLE.fullmatch(name)]
        # The directories below a new one are part of it.
        known = [one for one in app.shared.directories if not any(one.startswith(f"{name}/") for name in names)]
        words = ",".join(f'"{name}"' for name in (*known, *names))
        return Hint(HintKind.SHARE_DIRECTORIES, words) if names else None
