"""Variables that an app reads from its environment, with their places, examples, and whether the code has a default."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from hookd.model.nested import table
from hookd.model.plan import Finding, Variable
from units.finders.code.environment import is_needed, variable_of, variables_in
from units.finders.code.project import Project
from units.finders.code.syntax import Module, argument, keyword, source_of, text_of
from units.finders.data.secret import open_secret
from units.finders.data.settings import settings_fields
from units.finders.found import Found
from units.finders.repository.containers import image_values
from units.finders.repository.examples import example_values
from units.finders.web import django
from units.finders.web.service import Service

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SECRET: Final = re.compile(
    r"(?i)(?:^|_)(?:secret|key|password|passwd|pass|token|salt|credentials?|dsn)(?:_|$)|SECRET|PASSWORD"
)
# Set by the system, hookd, gunicorn, or by a command line of developers.
_OTHERS: Final = re.compile(
    r"(?:PORT|HOST|HOSTNAME|HOME|PATH|PWD|USER|LOGNAME|SHELL|TERM|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|CI|DISPLAY|VIRTUAL_ENV|"
    r"PYTHON\w*|GUNICORN_\w+|FLASK_(?:DEBUG|ENV|RUN_\w+|APP|COVERAGE)|WERKZEUG_\w+|INVOCATION_ID|NOTIFY_SOCKET|LISTEN_\w+|"
    r"APPDATA|XDG_\w+|COLUMNS|SSL_CERT_FILE|NO_COLOR|DYNO|PYTEST_\w+|PS1|EDITOR|DJANGO_SETTINGS_MODULE)"
)
_MAX_VARIABLES: Final = 200
# The key of sessions and signatures, which each process must share.
_SESSION: Final = re.compile(r"(?:^|_)SECRET(?:_KEY)?$")
# Keys of other services.
_OF_OTHERS: Final = frozenset(
    "CLIENT API S3 AWS STRIPE GITHUB GITLAB GOOGLE OAUTH FACEBOOK TWITTER RECAPTCHA WEBHOOK".split()
)
_LOCAL: Final = re.compile(r"(?:postgres|mysql|mariadb)\S*://(?:[^@/]*@)?(?:localhost|127\.0\.0\.1)")
# A file of SQLite from an example is kept in a shared directory.
_SQLITE: Final = re.compile(r"sqlite(?:\+\w+)?:///(?:[\w./-]*/)?([\w.-]+)")
_IN_DATA: Final = "sqlite:///{shared}/data/"
_ON: Final = re.compile(r"(?i)\b(?:true|on|1|yes)\b")


def find_variables(project: Project, service: Service, known: tuple[Variable, ...]) -> Found:
    """Find the variables. `known` ones of other finders come first and keep their examples."""
    certain = {one.name: one for one in (*_django_variables(project, service), *known)}
    examples = example_values(project)
    in_files = (Variable(name, source, example=value) for name, (value, source) in examples.items())
    found = dict(certain)
    in_code = (*_read_in_code(project, service), *settings_fields(project, service.modules))
    for one in (*in_code, *in_files, *_of_app_json(project)):
        before = found.get(one.name)
        found[one.name] = replace(before, needed=before.needed or one.needed) if before else one
    remark, named = open_secret(project, service.modules)
    for name in {*named} & found.keys():
        found[name] = replace(found[name], needed=True)
    docker = image_values(project)
    listed = [
        one if one.name in certain else _complete(one, examples, docker)
        for one in found.values()
        if one.name in certain or not _OTHERS.fullmatch(one.name)
    ]
    ordered = sorted(map(_marked, listed), key=lambda one: (not one.needed, not one.secret))
    data = [one for one in ordered if one.name not in certain and (one.example or "").startswith(_IN_DATA)]
    shared = tuple(Finding("shared.directories", ["data"], one.source, proposed=True) for one in data)
    return Found(shared, tuple(ordered[:_MAX_VARIABLES]), remark)


def _marked(one: Variable) -> Variable:
    """Return a variable with its mark for secrets, whose examples nobody should use."""
    secret = bool(_SECRET.search(one.name))
    return replace(one, secret=secret, example=None if secret else one.example or None)


def _complete(
    one: Variable, examples: Mapping[str, tuple[str, str]], docker: Mapping[str, tuple[str, str]]
) -> Variable:
    """Return a variable with its example. Names and values that only matter in production make it needed."""
    written, image = examples.get(one.name, ("", ""))[0], docker.get(one.name, ("", ""))[0]
    if "prod" in image:
        return replace(one, needed=True, example=image)
    is_session = bool(_SESSION.search(one.name)) and _OF_OTHERS.isdisjoint(one.name.split("_"))
    if is_session and one.example is None:
        return replace(one, needed=True)
    needed = one.needed or bool(_LOCAL.match(one.example or ""))
    example = "{domain}" if one.name == "SERVER_NAME" and one.needed else one.example
    if match := _SQLITE.fullmatch(written or example or ""):
        example, written = f"{_IN_DATA}{match[1]}", ""
    return replace(one, needed=needed, example=written or example)


def _django_variables(project: Project, service: Service) -> Iterator[Variable]:
    """Return the variables of Django's settings: their module, the hosts that it answers, and its debugging."""
    production = django.production_settings(project) if service.settings else None
    if production:
        yield Variable(django.VARIABLE, production[1], needed=True, example=production[0])
    modules = django.settings_modules(project, service.settings) if service.settings else ()
    for module in modules:
        for node in module.calls:
            name, text = variable_of(project, module, node), source_of(node)
            if name and "ALLOWED_HOSTS" in name and "CORS" not in name and "*" not in text:
                yield Variable(name, project.place_of(module, node), needed=True, example="{domain},localhost")
            elif name and re.fullmatch(r"(?:\w+_)?DEBUG", name) and _ON.search(text.partition(name)[2]):
                yield Variable(name, project.place_of(module, node), needed=True, example="False")


def _read_in_code(project: Project, service: Service) -> Iterator[Variable]:
    for module in service.modules:
        guarded, conditional = _guarded(project, module), _conditional(module)
        for node in module.nodes:
            if not isinstance(node, ast.Call | ast.Subscript) or isinstance(getattr(node, "ctx", None), ast.Store):
                continue
            name = variable_of(project, module, node) or _by_keyword(node)
            if name and _NAME.fullmatch(name):
                needed = name not in guarded and id(node) not in conditional and is_needed(module, node)
                default = argument(node, 1, "default", "fallback") if isinstance(node, ast.Call) else None
                yield Variable(name, project.place_of(module, node), needed, text_of(default))


def _guarded(project: Project, module: Module) -> set[str | None]:
    """Return the names that the code asks for before it reads them: `if "NAME" in os.environ`."""
    asked = {text_of(one.left) for one in module.all_of(ast.Compare) if isinstance(one.ops[0], ast.In | ast.NotIn)}
    tried = (one for one in module.all_of(ast.Try) for handler in one.handlers if _catches_key_error(handler))
    return asked.union(*(variables_in(project, module, *one.body) for one in tried))


def _catches_key_error(handler: ast.ExceptHandler) -> bool:
    return handler.type is not None and "KeyError" in source_of(handler.type)


def _conditional(module: Module) -> frozenset[int]:
    """Return the nodes that run only if another variable is set."""
    tests = ((one, source_of(one.test)) for one in module.all_of(ast.If))
    blocks = (one for one, test in tests if "environ" in test or "getenv" in test)
    return frozenset(id(node) for one in blocks for part in one.body for node in ast.walk(part))


def _by_keyword(node: ast.Call | ast.Subscript) -> str | None:
    """Return the variable that a table of settings names: `SettingsValue(str, environ_name="SHOP_KEY")`."""
    name = text_of(keyword(node, "environ_name")) if isinstance(node, ast.Call) else None
    return name if name and name.isupper() else None


def _of_app_json(project: Project) -> Iterator[Variable]:
    for name, one in table(project.json("app.json"), "env").items():
        given = one if isinstance(one, dict) else {"value": one}
        needed = {"value", "generator"}.isdisjoint(given) and given.get("required") is not False
        value = given.get("value")
        if _NAME.fullmatch(name):
            yield Variable(name, project.place("app.json"), needed, value if isinstance(value, str) else None)
