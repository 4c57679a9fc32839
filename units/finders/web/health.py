"""The page that hookd asks for the app's health."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from hookd.model.plan import Finding
from units.finders.code.project import Project
from units.finders.code.syntax import Module, argument, dotted, keyword, source_of, text_of
from units.finders.found import Found
from units.finders.repository.containers import compose_lines, dockerfiles
from units.finders.web.service import Service

_PAGES: Final = (
    "healthz", "health", "up", "ping", "_health", "healthcheck", "health-check", "health_check", "livez", "readyz",
    "_healthz", "heartbeat", "__heartbeat__", "__lbheartbeat__", "status/health", "-/healthy", "ht", "alive",
    "api/health", "api/healthz",
)  # fmt: skip
_URL: Final = re.compile(r"http://(?:localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(?::[\w${}:-]+)?(/[\w./~-]*)")
_ROUTES: Final = frozenset("route get add_url_rule add_api_route add_route api_route Route path re_path Path".split())


def find_health(project: Project, service: Service) -> Found:
    """Find a page made for this question. Without one it is `/`, where each answer below 500 is healthy."""
    for page, source in (*_checks(project), *_routes(project, service)):
        return Found((Finding("health.page", page, source), Finding("health.status", 200, source)))
    source = "no page for it was found"
    return Found((Finding("health.page", "/", source), Finding("health.status", "<500", source)))


def _checks(project: Project) -> Iterator[tuple[str, str]]:
    """Return the pages that the project's containers are asked for."""
    for dockerfile in dockerfiles(project):
        if (match := _URL.search(dockerfile.text("HEALTHCHECK"))) and match[1] != "/":
            yield match[1], project.place(dockerfile.path)
    for line, place in compose_lines(project):
        is_test = "test:" in line or "curl" in line or "wget" in line
        page = (_URL.search(line) or ("", ""))[1]
        if is_test and any(name in page for name in ("health", "ping", "up", "live")):
            yield page, place


def _routes(project: Project, service: Service) -> list[tuple[str, str]]:
    """Return the routes with such a name, the most usual first. Those below an unknown prefix do not count."""
    found: dict[str, tuple[str, str]] = {}
    for module in service.modules:
        with_prefix = _prefixed(module)
        for call in module.calls:
            name = dotted(call.func)
            owner, _, last = name.rpartition(".")
            text = text_of(argument(call, 0, "rule", "path")) if last in _ROUTES else None
            bare = text.strip("/^$") if text else ""
            if bare not in _PAGES or owner in with_prefix or _is_included(call) or not _takes_get(call):
                continue
            # Django's paths begin without a slash. All others have one, unlike a key of `data.get("up")`.
            if text and not text.startswith("/") and last not in ("path", "re_path"):
                continue
            if not owner and last in ("path", "re_path") and not _is_root(service, module):
                continue
            page = f"/{bare}/" if text and text.rstrip("$").endswith("/") else f"/{bare}"
            found.setdefault(bare, (page, project.place_of(module, call)))
    return [found[name] for name in _PAGES if name in found]


def _prefixed(module: Module) -> frozenset[str]:
    """Return the names of blueprints and routers, whose routes may lie below a prefix of another module."""
    return frozenset(
        name
        for name, value in module.values.items()
        if isinstance(value, ast.Call)
        and dotted(value.func).rpartition(".")[2] in ("Blueprint", "APIRouter", "Router", "APIBlueprint")
        and not _is_plain(value)
    )


def _is_plain(call: ast.Call) -> bool:
    """Return True for the blueprint of the main pages, by its name, which has no prefix of its own."""
    name = text_of(argument(call, 0, "name"))
    return keyword(call, "url_prefix", "prefix") is None and name in (
        "main",
        "public",
        "home",
        "core",
        "health",
        "base",
    )


def _is_included(call: ast.Call) -> bool:
    return any(isinstance(one, ast.Call) and dotted(one.func).endswith("include") for one in call.args)


def _takes_get(call: ast.Call) -> bool:
    methods = keyword(call, "methods")
    return methods is None or "GET" in source_of(methods)


def _is_root(service: Service, module: Module) -> bool:
    """Return True for Django's outermost table of URLs, the one beside the settings."""
    package = (service.settings or "").split(".", maxsplit=1)[0]
    return module.name == f"{package}.urls"
