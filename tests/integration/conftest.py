"""One hookd for each module of deployment tests: the module names its APPS, and each test uses apps of its own."""

from collections.abc import Iterator

import pytest

from tests.support.installation import Installation


@pytest.fixture(scope="module")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A running hookd with the APPS of the module, under its SETTINGS, with as many WORKERS as it asks for."""
    module = request.module
    with Installation(tmp_path_factory.mktemp("site"), getattr(module, "SETTINGS", None)) as installation:
        for name, over in module.APPS.items():
            installation.add_app(name, **over)
        installation.start(getattr(module, "WORKERS", 1))
        yield installation
