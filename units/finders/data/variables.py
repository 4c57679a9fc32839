"""Variables that an app reads from its environment, with their places, examples, and whether the code has a default."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from hookd.model.nested import table
from hookd.model.plan import Finding, Variable
from units.finders.found import Found
from units.finders.repository.containers import image_values
from units.finders.repository.examples import example_values
from units.finders.repository.project import Project
from units.finders.repository.syntax import Module, argument, assignments, keyword, source_of, text_of
from units.finders.repository.values import is_environment_reader, read_by_helper, variable_of
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
    for one in (*_read_in_code(project, service), *in_files, *_of_app_json(project)):
        before = found.get(one.name)
        found[one.name] = replace(before, needed=before.needed or one.needed) if before else one
    remark, named = _open_secret(project, service)
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
            name, text = variable_of(module, node) or read_by_helper(project, module, node), source_of(node)
            if name and "ALLOWED_HOSTS" in name and "CORS" not in name and "*" not in text:
                yield Variable(name, project.place_of(module, node), needed=True, example="{domain},localhost")
            elif name and re.fullmatch(r"(?:\w+_)?DEBUG", name) and _ON.search(text.partition(name)[2]):
                yield Variable(name, project.place_of(module, node), needed=True, example="False")


def _read_in_code(project: Project, service: Service) -> Iterator[Variable]:
    settings = _settings_classes(service.modules)
    for module in service.modules:
        guarded, conditional = _guarded(module), _conditional(module)
        for node in module.nodes:
            if isinstance(node, ast.Call | ast.Subscript) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
                name = variable_of(module, node) or read_by_helper(project, module, node) or _by_keyword(node)
                if name and _NAME.fullmatch(name):
                    needed = name not in guarded and id(node) not in conditional and _is_needed(module, node)
                    yield Variable(name, project.place_of(module, node), needed, _default(node))
            elif isinstance(node, ast.ClassDef) and node.name in settings:
                yield from _fields(project, module, node)


def _is_needed(module: Module, node: ast.Call | ast.Subscript) -> bool:
    """Return True if a read fails without the variable."""
    if isinstance(node, ast.Subscript):
        return module.full_name(node.value) == "os.environ"
    name = module.full_name(node.func)
    if name in ("os.environ.get", "os.getenv", "os.environ.setdefault", "os.environ.pop", "dj_database_url.config"):
        return False
    if not isinstance(node.func, ast.Name | ast.Attribute) or argument(node, 1, "default", "fallback") is not None:
        return False
    owner = module.values.get(source_of(node.func).partition(".")[0])
    has_default = {word.arg for word in owner.keywords} if isinstance(owner, ast.Call) else set()
    is_reader = name == "decouple.config" or (isinstance(owner, ast.Call) and is_environment_reader(module, owner))
    return is_reader and text_of(argument(node, 0)) not in has_default and not name.endswith(".read_env")


def _default(node: ast.Call | ast.Subscript) -> str | None:
    value = argument(node, 1, "default", "fallback") if isinstance(node, ast.Call) else None
    return text_of(value)


def _guarded(module: Module) -> frozenset[str]:
    """Return the names that the code asks for before it reads them: `if "NAME" in os.environ`."""
    found = set()
    for node in module.nodes:
        if (
            isinstance(node, ast.Compare)
            and isinstance(node.ops[0], ast.In | ast.NotIn)
            and (name := text_of(node.left))
        ):
            found.add(name)
        elif isinstance(node, ast.Try) and any("KeyError" in source_of(one.type) for one in node.handlers if one.type):
            inner = (
                variable_of(module, one)
                for part in node.body
                for one in ast.walk(part)
                if isinstance(one, ast.Subscript)
            )
            found |= {name for name in inner if name}
    return frozenset(found)


def _conditional(module: Module) -> frozenset[int]:
    """Return the nodes that run only if another variable is set."""
    blocks = (
        one for one in module.all_of(ast.If) if "environ" in source_of(one.test) or "getenv" in source_of(one.test)
    )
    return frozenset(id(node) for one in blocks for part in one.body for node in ast.walk(part))


def _by_keyword(node: ast.Call | ast.Subscript) -> str | None:
    """Return the variable that a table of settings names: `SettingsValue(str, environ_name="SHOP_KEY")`."""
    name = (
        text_of(keyword(node, "environ_name", "env_var", "envvar", "env_name")) if isinstance(node, ast.Call) else None
    )
    return name if name and name.isupper() else None


def _settings_classes(modules: tuple[Module, ...]) -> frozenset[str]:
    """Return the names of all classes that inherit from pydantic's BaseSettings, directly or not."""
    found = {"BaseSettings"}
    for _ in range(5):
        more = {
            name
            for module in modules
            for name, made in module.classes.items()
            if any(source_of(base).rpartition(".")[2] in found for base in made.bases)
        }
        if more <= found:
            break
        found |= more
    return frozenset(found - {"BaseSettings"})


def _fields(project: Project, module: Module, made: ast.ClassDef) -> Iterator[Variable]:
    """Return the fields of a settings class, by the names that pydantic reads."""
    prefix = _prefix(made)
    for one in made.body:
        if (
            not isinstance(one, ast.AnnAssign)
            or not isinstance(one.target, ast.Name)
            or "ClassVar" in source_of(one.annotation)
        ):
            continue
        name, needed = f"{prefix}{one.target.id}", one.value is None
        if isinstance(one.value, ast.Call) and source_of(one.value.func).endswith("Field"):
            alias = keyword(one.value, "validation_alias", "alias", "env")
            name = text_of(alias) or name
            first = one.value.args[0] if one.value.args else keyword(one.value, "default", "default_factory")
            needed = first is None or (isinstance(first, ast.Constant) and first.value is ...)
        optional = re.search(r"\bOptional\b|\bNone\b", source_of(one.annotation))
        if _NAME.fullmatch(name) and not one.target.id.startswith("_") and one.target.id != "model_config":
            yield Variable(name.upper(), project.place_of(module, one), needed and not optional)


def _prefix(made: ast.ClassDef) -> str:
    for node in ast.walk(made):
        if isinstance(node, ast.keyword) and node.arg == "env_prefix" and (text := text_of(node.value)):
            return text
        if (
            isinstance(node, ast.Assign)
            and source_of(node.targets[0]) == "env_prefix"
            and (text := text_of(node.value))
        ):
            return text
    return ""


def _of_app_json(project: Project) -> Iterator[Variable]:
    for name, one in table(project.json("app.json"), "env").items():
        given = one if isinstance(one, dict) else {"value": one}
        needed = {"value", "generator"}.isdisjoint(given) and given.get("required") is not False
        value = given.get("value")
        if _NAME.fullmatch(name):
            yield Variable(name, project.place("app.json"), needed, value if isinstance(value, str) else None)


def _open_secret(project: Project, service: Service) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a remark if the value of Flask's or Django's key stands in the code, and the variables that replace it."""
    module, value = next(((one, value) for one in service.modules for value in _secret_keys(one)), (None, None))
    if module is None or value is None:
        return (), ()
    calls = [one for one in ast.walk(value) if isinstance(one, ast.Call | ast.Subscript)]
    names = tuple(name for one in calls if (name := variable_of(module, one) or read_by_helper(project, module, one)))
    texts = [text for one in ast.walk(value) if isinstance(one, ast.Constant) and (text := text_of(one))]
    if module.interpolates_environment or all(text in names for text in texts):
        return (), ()
    mend = f"set {names[0]}" if names else "read it from a variable"
    place = project.place_of(module, value)
    return (f"SECRET_KEY has a value in the code that each reader knows: {mend} ({place}).",), names


def _secret_keys(module: Module) -> Iterator[ast.expr]:
    if value := module.values.get("SECRET_KEY"):
        yield value
    for made in module.classes.values():
        if "test" not in made.name.lower():
            yield from (value for name, value in assignments(tuple(made.body)) if name == "SECRET_KEY")
