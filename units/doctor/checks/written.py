"""Files that an app wrote into its releases: named with their size, because they fill the disk."""

import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from hookd.files.safe_open import Directory, open_path, walk
from hookd.model.app import App
from hookd.model.hint import render_hint
from hookd.model.settings import AppPaths
from units.doctor.context import HostContext
from units.doctor.finding import Finding, warning

_MIB: Final = 1024 * 1024


def check_app(context: HostContext, app: App) -> Iterator[Finding]:
    """Report the files in releases, and those kept of removed releases with their size."""
    paths = AppPaths(app, context.settings)
    written = [one.files for one in context.app_state(app).written]
    number, size = _measure(paths.kept)
    if number:
        files = f"{number} file" if number == 1 else f"{number} files"
        message = f"{files} that {app.name} wrote into removed releases are kept ({size / _MIB:.1f} MiB)"
        place = shlex.quote(str(paths.kept))
        copy = f"sudo ls -R {place}, copy them to {app.data_root}, then sudo rm -r {place}"
        hint = next((hint for files in reversed(written) if (hint := files.hint(app))), None)
        yield warning(message, render_hint(hint, app.name) if hint else copy)
    for each in [each for each in written if not each.kept][-1:]:
        if hint := each.hint(app):
            yield warning(str(each), render_hint(hint, app.name))
        elif not each.directories:  # Its files lie between those of the commit.
            yield warning(str(each), f"sudo ls -l {shlex.quote(str(paths.release(each.release) / each.paths[0]))}")


def _measure(place: Path) -> tuple[int, int]:
    """Return the number of files below a directory, and their size in bytes."""
    number = size = 0
    with suppress(FileNotFoundError), open_path(place) as top:
        for found in walk(str(place), top):
            if not isinstance(found, Directory):
                continue
            for name in found.names:
                with suppress(FileNotFoundError):
                    size += os.stat(name, dir_fd=found.descriptor, follow_symlinks=False).st_size
                    number += 1
    return number, size
