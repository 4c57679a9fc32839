"""The page for health checks is one that the project names."""

import pytest

from tests.unit.units.finders.layouts import FASTAPI, FLASK, SETTINGS, django, values_of


@pytest.mark.parametrize(
    ("files", "page"),
    [
        ({"app.py": FLASK + "@app.route('/healthz')\ndef f(): ...\n"}, "/healthz"),
        ({"app.py": FASTAPI + "@app.get('/health/')\ndef f(): ...\n@app.post('/ping')\ndef g(): ...\n"}, "/health/"),
        ({"app.py": FLASK, "Dockerfile": "HEALTHCHECK CMD curl -f http://localhost:${PORT}/up || exit 1\n"}, "/up"),
        ({"app.py": FASTAPI, "compose.yml": 'test: ["CMD", "curl", "http://localhost:8000/api/health-check/"]\n'}, "/api/health-check/"),
        (django(SETTINGS, **{"site1/urls.py": "from django.urls import path\nurlpatterns = [path('ping/', f)]\n", "site1/wsgi.py": "import site1.urls\n" + django()["site1/wsgi.py"]}), "/ping/"),
        ({"app.py": FASTAPI + "@app.get('/api/health')\ndef f(): ...\n"}, "/api/health"),
        ({"app.py": FLASK + "data = {}\nif data.get('up') or data.get('ping'): ...\n"}, "/"),
        ({"app.py": FLASK + "@app.route('/ping', methods=['POST'])\ndef f(): ...\n"}, "/"),
        ({"app.py": FLASK + "from flask import Blueprint\napi = Blueprint('api', 'a', url_prefix='/api')\n@api.route('/health')\ndef f(): ...\n"}, "/"),
    ],
)  # fmt: skip
def test_health_page_is_found(files: dict[str, str], page: str) -> None:
    values = values_of(files)
    assert (values["health.page"], values["health.status"]) == (page, "<500" if page == "/" else 200)
