"""`hookd up` and `hookd down`: an app on this machine without root, in one command."""

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import unified_diff
from functools import partial, wraps
from os.path import normpath
from pathlib import Path
from typing import Any, Final

import click
import tomlkit

from hookd.cli.common import Command, fail, fail_config, print_line, print_next, styled
from hookd.cli.main import exit_status
from hookd.commands import edit_command, up_command
from hookd.config import Config, ConfigError
from hookd.model.ids import is_app
from hookd.model.nested import table
from hookd.model.plan import TOP, Plan
from hookd.variables import parse
from units.apps.repository.inspection import Branch, Head, Inspector
from units.apps.table.findings import PAGE, page_of, with_findings
from units.apps.table.keys import parse_change, set_key, set_keys, without_key
from units.apps.table.options import parse_app
from units.cli.plan.agree import Findings, Proposal, accept_option, settle
from units.cli.plan.show import show_plan
from units.cli.plan.variables import Places, list_unset
from units.cli.typed_files import read_variables
from units.system.errors import HostError, Refused
from units.system.run import CommandFailed
from units.up.home import Home, all_homes, create, default_home, free_port, require_free_port, write_settings
from units.up.services import start, stop
from units.up.source import app_name, first_table, repository_url, with_own_command, without_server_keys

_APP_PORT, _RECEIVER_PORT = 8000, 8787
# Keys that an option of its own sets.
_OPTIONS: Final = {"branch": "branch", "directory": "service.directory", "entry": "service.entry"}


def _reports(command: Command) -> Command:
    """Turn expected errors into messages."""

    @wraps(command)
    def guarded(*arguments: Any, **options: Any) -> Any:
        try:
            return command(*arguments, **options)
        except HostError as error:
            fail(str(error), hint=error.hint or f"hookd {click.get_current_context().info_name} --help")
        except CommandFailed as error:
            fail(f"a command failed: {error}", hint="hookd up --help", status=1)
        except ConfigError as error:
            fail_config(error)

    return guarded


@click.command(epilog="Example: hookd up --repo https://github.com/acme/shop.git")
@click.option("--repo", help="The repository's URL or directory, default: this directory's.")
@click.option("--branch", default="", help="The branch to deploy, default: the repository's own.")
@click.option("--name", help="The app's name, default: the repository's.")
@click.option("--directory", help="The app's directory in the repository, default: the one with an app.")
@click.option("--entry", help="The WSGI or ASGI callable, MODULE:NAME, default: found in the repository.")
@click.option("--health", help="The page for health checks, default: found in the repository.")
@click.option("--data", multiple=True, metavar="NAME", help="A directory outside the releases, such as uploads.")
@click.option("--port", type=click.IntRange(1, 65_535), help="The app's port, default: 8000 or a free one.")
@click.option("--env-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="The app's variables.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Any other key of the app's file.")
@accept_option
@click.option("--dry-run", is_flag=True, help="Show the plan and make nothing.")
@_reports
def up(repo: str | None, name: str | None, dry_run: bool, **options: Any) -> None:
    """Run an app and hookd on this machine, without root."""
    url = repository_url(repo)
    home = default_home(name if name and is_app(name) else app_name(name or url))
    home.require_short_path()
    home.require_private()
    _require_page(options["health"])
    if options["directory"]:
        options["directory"] = normpath(options["directory"])
    if home.exists:
        _require_repository(home, url)
        _change(home, options, dry_run=dry_run)
    elif not _set_up(_Request(home, url, options, _values(options), dry_run)):
        return
    if not dry_run:
        _run(home)


@dataclass(frozen=True)
class _Request:
    """A typed command for an app that is not there yet. `values` are those that the options set, by key."""

    home: Home
    url: str
    options: Mapping[str, Any]
    values: Mapping[str, Any]
    dry_run: bool

    @property
    def given(self) -> set[str]:
        """The keys that the options set, and the app's port, which hookd chooses."""
        return {*self.values, "service.listen", *([PAGE] if self.options["health"] else [])}

    def table(self, branch: str, port: int, plan: Plan, findings: Findings) -> dict[str, Any]:
        """Return the app's table: the options over the findings."""
        page = self.options["health"]
        found = first_table(self.home, self.url, branch, port, page or page_of(plan))
        for key, value in self.values.items():
            set_key(found, key, value)
        return with_own_command(with_findings(found, findings, page=page))


def _values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all options, by key. Raises Refused for a change that is not KEY=VALUE."""
    return _option_values(options) | dict(map(parse_change, options["changes"]))


def _option_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of the options that set one key each, by key."""
    data = {"shared.directories": list(options["data"])} if options["data"] else {}
    return {key: options[name] for name, key in _OPTIONS.items() if options[name] not in ("", None, TOP)} | data


def _set_up(request: _Request) -> bool:
    """Find the plan, ask, and write all files. Return False if nothing was made."""
    home, options = request.home, request.options
    variables = read_variables(options["env_file"]) if options["env_file"] else ""
    if options["port"]:
        require_free_port(options["port"], f"hookd up --port {free_port(_APP_PORT)}")
    done, is_new = False, not home.directory.exists()
    try:
        write_settings(home, free_port(_RECEIVER_PORT))
        head, plan = _find(request)
        show_plan(request.url, head, plan, request.given)
        port = options["port"] or free_port(_APP_PORT)
        make_table = partial(request.table, head.branch, port, plan)
        proposal = Proposal(plan, make_table, Places(str(home.root / "shared"), "127.0.0.1"), "hookd up")
        agreed = settle(proposal, variables, yes=options["yes"], dry_run=request.dry_run)
        chosen = agreed.table(make_table)
        parse_app(home.name, chosen)
        if not request.dry_run:
            create(home, chosen, agreed.variables)
            list_unset(plan.variables, agreed.variables, edit_command(str(home.variables_file)))
            done = True
    finally:
        if not done and is_new:
            shutil.rmtree(home.directory, ignore_errors=True)
    return done


def _find(request: _Request) -> tuple[Head, Plan]:
    """Fetch the branch, and return its head and its plan."""
    home = request.home
    inspector = Inspector(sys.executable, variables={"HOOKD_CONFIG": str(home.config_file), "HOME": str(Path.home())})
    print_line(f"Reading {request.url}")
    head = inspector.fetch(Branch(home.name, request.url, request.options["branch"]))
    return head, without_server_keys(inspector.find(head, request.options["directory"]))


def _require_page(page: str | None) -> None:
    """Raise HostError if a typed health page is neither a page nor a full address."""
    if page and not page.startswith("/") and "://" not in page:
        raise HostError(f"a health page begins with /, and {page!r} does not", hint=f"hookd up --health /{page}")


def _require_repository(home: Home, url: str) -> None:
    """Raise Refused if the app deploys another repository."""
    known = tomlkit.parse(home.app_file.read_text(encoding="utf-8")).unwrap().get("repository", "")
    if _plain(known) != _plain(url):
        hint = shlex.join(("hookd", "up", "--repo", url, "--name", f"{home.name[:30]}-2"))
        raise Refused([f"{home.name} is an app of another repository: {known}"], hint=hint)


def _plain(url: str) -> str:
    return url.rstrip("/").removesuffix(".git")


def _change(home: Home, options: Mapping[str, Any], *, dry_run: bool) -> None:
    """Set keys in the file of an app that is there."""
    page = {"health.url": options["health"]} if options["health"] else {}
    old = home.app_file.read_text(encoding="utf-8")
    _refuse_other_values(home, old, options)
    new = set_keys(old, options["changes"], _option_values(options) | page)
    if options["directory"] == TOP:
        new = without_key(new, _OPTIONS["directory"])
    if new != old:
        parse_app(home.name, tomlkit.parse(new).unwrap())
        if not dry_run:
            home.app_file.write_text(new, encoding="utf-8")
    if dry_run:
        print_line("\n".join(_difference(home, old, new)) or f"{home.name} is there, and nothing to change")


def _refuse_other_values(home: Home, text: str, options: Mapping[str, Any]) -> None:
    """Raise Refused if a port or variables are typed that an app does not have, because they are for a new one."""
    listen = table(tomlkit.parse(text).unwrap(), "service").get("listen")
    if options["port"] and listen != f"127.0.0.1:{options['port']}":
        hint = edit_command(str(home.app_file))
        raise Refused([f"--port is for a new app, and {home.name} has {listen}"], hint=hint)
    if options["env_file"]:
        typed, known = parse(read_variables(options["env_file"])), parse(home.variables_file.read_text("utf-8"))
        if not typed.items() <= known.items():
            hint = edit_command(str(home.variables_file))
            raise Refused([f"--env-file is for a new app, and {home.name} has other variables"], hint=hint)


def _difference(home: Home, old: str, new: str) -> Iterator[str]:
    """Return the changed lines of the app's file."""
    return unified_diff(old.splitlines(), new.splitlines(), str(home.app_file), "new", lineterm="", n=1)


def _run(home: Home) -> None:
    """Start everything, deploy, and print where it is. End the command with the deployment's status."""
    config = home.load()
    print_line(f"\nhookd runs in {home.directory}" if start(home) else f"\nhookd runs already in {home.directory}")
    # It deploys the head, so that changed files count too.
    status = exit_status("--config", str(home.config_file), "deploy", home.name)
    if status == 0:
        _print_addresses(home, config)
    sys.exit(status)


def _print_addresses(home: Home, config: Config) -> None:
    app = config.catalogue.apps[0]
    secret = home.secret_file.read_text(encoding="utf-8").strip()
    click.echo(f"\n  the app   {styled(home.app_url(app), bold=True)}")
    print_line(f"  webhook   {config.settings.receiver.public_url}/hooks/{home.name}  (JSON, push events)")
    print_line(f"  secret    {secret}")
    print_line(f"  files     {home.app_file}, {home.variables_file}")
    if app.repository.startswith("file://"):
        print_line(f"  a commit on {app.branch} is live within {app.reconcile.every} s")
    print_next(f"hookd status {home.name}")
    print_next("hookd down" if len(all_homes()) == 1 else f"hookd down {home.name}")


@click.command(epilog="Example: hookd down shop --purge")
@click.argument("name", required=False)
@click.option("--purge", is_flag=True, help="Remove the app's directory, with its data.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_reports
def down(name: str | None, purge: bool, yes: bool) -> None:
    """Stop what `hookd up` started."""
    home = default_home(name) if name else _only_home()
    home.require_private()
    if not home.exists:
        raise HostError(f"there is no {home.directory}", hint="hookd up")
    if purge and not yes:
        click.confirm(f"Remove {home.directory} with all releases, variables and data?", abort=True)
    again = up_command(home.load())
    print_line(f"{home.name} is stopped" if stop(home) else f"{home.name} did not run")
    if purge:
        shutil.rmtree(home.directory)
        print_line(f"removed {home.directory}")
    else:
        print_next(again)


def _only_home() -> Home:
    """Return the directory of this checkout's app, or the only one. Raises HostError."""
    homes = all_homes()
    with suppress(HostError):
        here = app_name(repository_url(None))
        homes = [home for home in homes if home.name == here] or homes
    if len(homes) != 1:
        names = ", ".join(home.name for home in homes) or "none"
        raise HostError(f"there are several apps or none: {names}", hint="hookd down NAME")
    return homes[0]
