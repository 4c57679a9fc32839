"""The command of a server that is not gunicorn, as it runs on a host without a container."""

import re
from typing import Final

from hookd.model.plan import Finding
from units.finders.code.project import Project
from units.finders.found import Found
from units.finders.repository.containers import dockerfiles
from units.finders.repository.starts import file_named
from units.finders.web.servers import Serving

_PORT: Final = re.compile(r"\d{2,5}")
_DEFAULT_PORT: Final = "8000"
# Paths of a container that are the same on a host.
_SYSTEM: Final = ("/usr/", "/bin/", "/etc/", "/dev/", "/proc/", "/tmp/", "/run/", "/opt/venv/", "/venv/")  # noqa: S108


def own_command(project: Project, serving: Serving) -> tuple[tuple[str, ...], Found]:
    """Return a server's own command, whose values and paths of a container are replaced, and what follows from it."""
    words: list[str] = []
    directories: list[str] = []
    port = _port(project)
    for word in serving.command:
        text = re.sub(r"\$\{?PORT(?::?-[^}]*)?\}?", port, word)
        if text.startswith("/") and not text.startswith(_SYSTEM):
            path = file_named(project, text)
            text = path or text.strip("/").rpartition("/")[2]
            directories += [] if path else [text]
        words.append(text.removeprefix("./") if len(words) == 1 else text)
    source = serving.source
    findings = [Finding("service.command", words, source, proposed=True)]
    if directories:
        shared = [project.place(directory) for directory in directories]
        findings.append(Finding("shared.directories", shared, source, proposed=True))
    findings.append(Finding("service.listen", f"127.0.0.1:{port}", source, proposed=True))
    full = "stands for the container's directory: give its full path if the server needs one."
    remarks = [f"{one} {full}" for one in directories]
    unknown = (word for word in words if "$" in word)
    remarks += [f"{source} has the variable {word}: write its value into service.command." for word in unknown]
    return tuple(words), Found(tuple(findings), remarks=tuple(remarks))


def _port(project: Project) -> str:
    """Return the port that a Dockerfile exposes, else 8000."""
    for dockerfile in dockerfiles(project):
        if match := _PORT.match(dockerfile.text("EXPOSE")):
            return match[0]
    return _DEFAULT_PORT
