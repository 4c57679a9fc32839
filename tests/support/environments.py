"""Install dependencies for tests from wheels in a directory, without an index."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.tasks import Deploying, deploying, make_app
from tests.support.wheels import make_wheel
from worker.environment.prepare import prepare_venv
from worker.environment.server import GUNICORN
from worker.release.ownership import release_policy


class Installer:
    """Makes releases below a directory and installs what they ask for from its `wheels`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.wheels = directory / "wheels"
        self.wheels.mkdir()
        make_wheel(self.wheels, "gunicorn", GUNICORN)
        self.log = ""
        self.limits: dict[str, int] = {}
        self.ownership = "split"
        self._number = 0

    @property
    def variables(self) -> dict[str, str]:
        """The variables that keep uv from asking an index."""
        return {"UV_OFFLINE": "1", "UV_FIND_LINKS": str(self.wheels)}

    def install(
        self,
        files: Mapping[str, str | bytes],
        name: str = "shop",
        *,
        fresh: bool = False,
        service: Mapping[str, str] | None = None,
        **dependencies: Any,
    ) -> Path:
        """Install what a release of these files needs and return the environment."""
        self._number += 1
        with self._task(name, dependencies, service or {}) as at:
            at.task.recorder.update(commit=f"{self._number:040x}", fresh=fresh)
            release = at.task.paths.release(f"r{self._number}")
            release.mkdir()
            for path, text in files.items():
                (release / path).parent.mkdir(parents=True, exist_ok=True)
                (release / path).write_bytes(text if isinstance(text, bytes) else text.encode())
            try:
                return prepare_venv(at.task, release, release_policy(at.task.app.ownership))
            finally:
                self.log = at.text

    @contextmanager
    def _task(self, name: str, dependencies: Mapping[str, Any], service: Mapping[str, str]) -> Iterator[Deploying]:
        table = {"environment": self.variables, **dependencies}
        over = {
            "dependencies": table,
            "limits": self.limits,
            "service": service,
            "ownership": {"policy": self.ownership},
        }
        app = make_app(self.directory, name=name, root=self.directory / name, **over)
        with deploying(self.directory, app) as at:
            yield at


def installed(venv: Path) -> dict[str, str]:
    """Return the packages of an environment with their versions, without the gunicorn that hookd adds."""
    code = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    done = subprocess.run([venv / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return {name: version for name, version in found.items() if (name, version) != ("gunicorn", GUNICORN)}
