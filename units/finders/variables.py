"""Variables that an app reads from its environment, with their places, examples, and whether the code has a default."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from units.finders import django
from units.finders.finding import Found, Variable
from units.finders.packages import read_json, table
from units.finders.project import Project
from units.finders.service import Service
from units.finders.starts import dockerfiles
from units.finders.syntax import Module, argument, keyword, text_of
from units.finders.values import is_environment_reader, variable_of

_EXAMPLE_FILE: Final = re.compile(r"(?:docker/|container/|deploy/)?(?:[\w-]*\.)?(?:env|\.env)(?:\.(?:example|sample|template|dist))?")
_LINE: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SECRET: Final = re.compile(r"(?i)(?:^|_)(?:secret|key|password|passwd|pass|token|salt|credentials?|dsn)(?:_|$)|SECRET|PASSWORD")
# Set by the system, hookd, gunicorn, or by a command line of developers.
_OTHERS: Final = re.compile(
    r"(?:PORT|HOST|HOSTNAME|HOME|PATH|PWD|USER|LOGNAME|SHELL|TERM|LANG|LC_\w+|TZ|TMPDIR|TEMP|TMP|CI|DISPLAY|VIRTUAL_ENV|"
    r"PYTHON\w*|GUNICORN_\w+|FLASK_(?:DEBUG|ENV|RUN_\w+|APP|COVERAGE)|WERKZEUG_\w+|INVOCATION_ID|NOTIFY_SOCKET|LISTEN_\w+|"
    r"APPDATA|XDG_\w+|COLUMNS|SSL_CERT_FILE|NO_COLOR|DYNO|PYTEST_\w+|PS1|EDITOR|DJANGO_SETTINGS_MODULE)"
)
_MAX_VARIABLES: Final = 200
_ALLOWED_HOSTS: Final = re.compile(r"\bALLOWED_HOSTS\b")


def find_variables(project: Project, service: Service, known: tuple[Variable, ...]) -> Found:
    """Find the variables. `known` ones of other finders come first and keep their examples."""
    found = {one.name: one for one in known}
    for one in (*_django_variables(project, service), *_read_in_code(project, service)):
        before = found.get(one.name)
        found[one.name] = replace(before, needed=before.needed or one.needed) if before else one
    examples = _examples(project)
    for name, (value, source) in (*examples.items(), *_app_json(project).items()):
        found.setdefault(name, Variable(name, source, example=value))
    for name in _needed_by_app_json(project):
        found[name] = replace(found[name], needed=True)
    listed = [_complete(one, examples) for one in found.values() if one in known or not _OTHERS.fullmatch(one.name)]
    ordered = sorted(listed, key=lambda one: (not one.needed, not one.secret))[:_MAX_VARIABLES]
    return Found(variables=tuple(ordered), remarks=tuple(_open_secrets(project, service)))


def _complete(one: Variable, examples: Mapping[str, tuple[str, str]]) -> Variable:
    written = examples.get(one.name, ("", ""))[0]
    return replace(one, example=one.example or written or None, secret=bool(_SECRET.search(one.name)))


def _django_variables(project: Project, service: Service) -> Iterator[Variable]:
    """Return the settings module for production, and the variable of the hosts that Django answers."""
    production = django.production_settings(project) if service.settings else None
    if production:
        yield Variable(django.VARIABLE, production[1], needed=True, example=production[0])
    modules = django.settings_modules(project, service.settings) if service.settings else ()
    for module in modules:
        for node in module.nodes:
            if isinstance(node, ast.Assign) and _ALLOWED_HOSTS.search(ast.unparse(node.targets[0])):
                for inner in ast.walk(node.value):
                    name = variable_of(module, inner) if isinstance(inner, ast.Call | ast.Subscript) else None
                    if name and "*" not in ast.unparse(node.value):
                        yield Variable(name, project.place_of(module, node), needed=True, example="{domain},localhost")


def _read_in_code(project: Project, service: Service) -> Iterator[Variable]:
    settings = _settings_classes(service.modules)
    for module in service.modules:
        guarded = _guarded(module)
        readers = _readers(module)
        for node in module.nodes:
            if isinstance(node, ast.Call | ast.Subscript) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load):
                name = variable_of(module, node) or _by_reader(readers, node)
                if name and _NAME.fullmatch(name):
                    needed = name not in guarded and _is_needed(module, node)
                    yield Variable(name, project.place_of(module, node), needed, _default(node))
            elif isinstance(node, ast.ClassDef) and node.name in settings:
                yield from _fields(project, module, node)


def _is_needed(module: Module, node: ast.Call | ast.Subscript) -> bool:
    """Return True if a read fails without the variable."""
    if isinstance(node, ast.Subscript):
        return True
    name = module.full_name(node.func)
    if name in ("os.environ.get", "os.getenv", "environ.get", "os.environ.setdefault", "os.environ.pop", "dj_database_url.config"):
        return False
    if not isinstance(node.func, ast.Name | ast.Attribute) or argument(node, 1, "default", "fallback") is not None:
        return False
    owner = module.values.get(ast.unparse(node.func).partition(".")[0])
    has_default = {word.arg for word in owner.keywords} if isinstance(owner, ast.Call) else set()
    is_reader = name == "decouple.config" or (isinstance(owner, ast.Call) and is_environment_reader(module, owner))
    return is_reader and text_of(argument(node, 0)) not in has_default and not name.endswith(".read_env")


def _default(node: ast.Call | ast.Subscript) -> str | None:
    value = argument(node, 1, "default", "fallback") if isinstance(node, ast.Call) else None
    return text_of(value) or None


def _guarded(module: Module) -> frozenset[str]:
    """Return the names that the code asks for before it reads them: `if "NAME" in os.environ`."""
    found = set()
    for node in module.nodes:
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn) and (name := text_of(node.left)):
            found.add(name)
        elif isinstance(node, ast.Try) and any("KeyError" in ast.unparse(one.type) for one in node.handlers if one.type):
            inner = (variable_of(module, one) for part in node.body for one in ast.walk(part) if isinstance(one, ast.Subscript))
            found |= {name for name in inner if name}
    return frozenset(found)


def _readers(module: Module) -> frozenset[str]:
    """Return the module's own functions that read the variable which their first argument names."""
    found = set()
    for name, function in module.functions.items():
        first = function.args.args[0].arg if function.args.args else None
        reads = (one for one in ast.walk(function) if isinstance(one, ast.Call) and one.args)
        if first and any(
            module.full_name(one.func) in ("os.environ.get", "os.getenv") and ast.unparse(one.args[0]) == first for one in reads
        ):
            found.add(name)
    return frozenset(found)


def _by_reader(readers: frozenset[str], node: ast.Call | ast.Subscript) -> str | None:
    is_reader = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in readers
    return text_of(argument(node, 0)) if is_reader and isinstance(node, ast.Call) else None


def _settings_classes(modules: tuple[Module, ...]) -> frozenset[str]:
    """Return the names of all classes that inherit from pydantic's BaseSettings, directly or not."""
    found = {"BaseSettings"}
    for _ in range(5):
        more = {
            name
            for module in modules
            for name, made in module.classes.items()
            if any(ast.unparse(base).rpartition(".")[2] in found for base in made.bases)
        }
        if more <= found:
            break
        found |= more
    return frozenset(found - {"BaseSettings"})


def _fields(project: Project, module: Module, made: ast.ClassDef) -> Iterator[Variable]:
    """Return the fields of a settings class, by the names that pydantic reads."""
    prefix = _prefix(made)
    for one in made.body:
        if not isinstance(one, ast.AnnAssign) or not isinstance(one.target, ast.Name) or "ClassVar" in ast.unparse(one.annotation):
            continue
        name, needed = f"{prefix}{one.target.id}", one.value is None
        if isinstance(one.value, ast.Call) and ast.unparse(one.value.func).endswith("Field"):
            alias = keyword(one.value, "validation_alias", "alias", "env")
            name = text_of(alias) or name
            first = one.value.args[0] if one.value.args else keyword(one.value, "default", "default_factory")
            needed = first is None or (isinstance(first, ast.Constant) and first.value is ...)
        optional = re.search(r"\bOptional\b|\bNone\b", ast.unparse(one.annotation))
        if _NAME.fullmatch(name) and not one.target.id.startswith("_") and one.target.id != "model_config":
            yield Variable(name.upper(), project.place_of(module, one), needed and not optional)


def _prefix(made: ast.ClassDef) -> str:
    for node in ast.walk(made):
        if isinstance(node, ast.keyword) and node.arg == "env_prefix" and (text := text_of(node.value)):
            return text
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "env_prefix" and (text := text_of(node.value)):
            return text
    return ""


def _examples(project: Project) -> dict[str, tuple[str, str]]:
    """Return the variables of example files and of a Dockerfile that names variables of the code, with their places."""
    found: dict[str, tuple[str, str]] = {}
    for path in project.paths:
        if path.count("/") < 2 and _EXAMPLE_FILE.fullmatch(path):
            _read_example(project.lines(path), project.place(path), found)
    if project.directory:
        for path in (".env.example", ".env"):
            _read_example((project.tree.read(path) or "").splitlines(), path, found)
    return found


def _read_example(lines: list[str], place: str, found: dict[str, tuple[str, str]]) -> None:
    for number, line in enumerate(lines, 1):
        if match := _LINE.fullmatch(line.strip()):
            value = match[2].partition(" #")[0].strip().strip("\"'")
            found.setdefault(match[1], (value, f"{place}, line {number}"))


def _app_json(project: Project) -> dict[str, tuple[str | None, str]]:
    given = table(read_json(project.read("app.json")), "env")
    found: dict[str, tuple[str | None, str]] = {}
    for name, one in given.items():
        value = one.get("value") if isinstance(one, dict) else one
        if _NAME.fullmatch(name):
            found[name] = (value if isinstance(value, str) and value else None, project.place("app.json"))
    return found


def _needed_by_app_json(project: Project) -> Iterator[str]:
    for name, one in table(read_json(project.read("app.json")), "env").items():
        is_table = isinstance(one, dict) and not {"value", "generator"} & one.keys() and one.get("required") is not False
        if is_table and _NAME.fullmatch(name):
            yield name


def _open_secrets(project: Project, service: Service) -> Iterator[str]:
    """Return a remark for a secret whose default stands in the code."""
    for module in service.modules:
        for name, value in _named_values(module):
            call = next((one for one in ast.walk(value) if isinstance(one, ast.Call) and variable_of(module, one)), None)
            has_text = any(text_of(one) and text_of(one) != (variable_of(module, call) if call else "") for one in ast.walk(value) if isinstance(one, ast.Constant))  # noqa: E501
            if name == "SECRET_KEY" and has_text:
                variable = variable_of(module, call) if call else None
                mend = f"set {variable}" if variable else "read it from a variable"
                yield f"SECRET_KEY has a value in the code that each reader knows: {mend} ({project.place_of(module, value)})."
                return


def _named_values(module: Module) -> Iterator[tuple[str, ast.expr]]:
    yield from module.values.items()
    for made in module.classes.values():
        for one in made.body:
            if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name):
                yield one.targets[0].id, one.value


def docker_values(project: Project) -> dict[str, tuple[str, str]]:
    """Return the variables that a Dockerfile sets, with their places."""
    return {
        name: (value, project.place(dockerfile.path, line))
        for dockerfile in dockerfiles(project)
        for name, (value, line) in dockerfile.variables.items()
    }
