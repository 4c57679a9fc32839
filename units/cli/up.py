"""`hookd up` and `hookd down`: an app on this machine without root, in one command."""

import shutil
import sys
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click
import tomlkit

from hookd.cli.common import Command, fail, fail_config, print_line, print_next, styled
from hookd.cli.main import main
from hookd.commands import edit_command
from hookd.config import Config, ConfigError
from hookd.model.ids import is_app
from hookd.model.plan import Finding
from hookd.variables import misread, parse
from units.apps.found import PAGE, page_of, with_findings
from units.apps.keys import parse_change, set_key
from units.apps.look import Looker
from units.apps.look import Source as Branch
from units.apps.options import parse_app
from units.apps.variables import describe_problems
from units.cli.plan import Places, agree, ask_variables, list_unset, require_start, show_plan
from units.system.errors import HostError, Refused
from units.system.run import CommandFailed
from units.up.home import Home, all_homes, create, default_home, free_port, write_settings
from units.up.services import start, stop
from units.up.source import app_name, first_table, repository_url, with_own_command, without_server_keys

_APP_PORT, _RECEIVER_PORT = 8000, 8787
# Keys that an option of its own sets.
_OPTIONS: Final = {"directory": "service.directory", "entry": "service.entry"}


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
@click.option("--yes", is_flag=True, help="Accept all proposals, and do not ask.")
@click.option("--dry-run", is_flag=True, help="Show the plan and make nothing.")
@_reports
def up(repo: str | None, name: str | None, dry_run: bool, **options: Any) -> None:
    """Run an app and hookd on this machine, without root."""
    url = repository_url(repo)
    home = default_home(name if name and is_app(name) else app_name(name or url))
    home.require_short_path()
    changes = _changes(options)
    if home.exists:
        _change(home, changes, dry_run=dry_run)
    elif not _set_up(home, url, options, changes, dry_run=dry_run):
        return
    if not dry_run:
        _run(home)


def _changes(options: dict[str, Any]) -> dict[str, Any]:
    """Return the keys that the options set."""
    found = dict(map(parse_change, options["changes"]))
    if options["data"]:
        found.setdefault("shared.directories", list(options["data"]))
    return {**{key: options[name] for name, key in _OPTIONS.items() if options[name]}, **found}


def _set_up(home: Home, url: str, options: dict[str, Any], changes: dict[str, Any], *, dry_run: bool) -> bool:
    """Look at the repository, ask, and write all files. Return False if nothing was made."""
    environment = _read_variables(options["env_file"])
    done, is_new = False, not home.directory.exists()
    try:
        write_settings(home, free_port(_RECEIVER_PORT))
        looker = Looker(sys.executable, variables={"HOOKD_CONFIG": str(home.config_file), "HOME": str(Path.home())})
        print_line(f"Looking at {url}")
        found = looker.fetch(Branch(home.name, url, options["branch"]))
        plan = without_server_keys(looker.find(found.mirror, found.commit, options["directory"]))
        show_plan(
            f"{url}, branch {found.branch}, commit {found.commit[:12]}",
            plan,
            {*changes, "service.listen", *([PAGE] if options["health"] else [])},
        )
        port = options["port"] or free_port(_APP_PORT)

        def table(findings: tuple[Finding, ...]) -> dict[str, Any]:
            first = first_table(home, url, found.branch, port, options["health"] or page_of(plan))
            return _table(first, findings, changes, options["health"])

        require_start(plan, table(plan.findings), "hookd up")
        agreed = agree(plan, table, yes=options["yes"] or dry_run)
        chosen = agreed.table or table(agreed.findings)
        parse_app(home.name, chosen)
        if not dry_run:
            places = Places(str(home.root / "shared"), "127.0.0.1")
            known = parse(environment)
            environment = ask_variables(plan.variables, environment, known, places, yes=options["yes"])
            create(home, chosen, environment)
            list_unset(plan.variables, parse(environment), edit_command(str(home.variables_file)))
            done = True
    finally:
        if not done and is_new:
            shutil.rmtree(home.directory, ignore_errors=True)
    return done


def _table(
    first: dict[str, Any], findings: tuple[Finding, ...], changes: dict[str, Any], page: str | None
) -> dict[str, Any]:
    """Return the app's table: the changes over the findings."""
    for key, value in changes.items():
        set_key(first, key, value)
    return with_own_command(with_findings(first, findings, page=page))


def _read_variables(file: Path | None) -> str:
    """Return the text of a file of variables. Raises Refused for misread ones."""
    if file is None:
        return ""
    text = file.read_text(encoding="utf-8")
    if problems := list(describe_problems(file, misread(text))):
        raise Refused(problems, hint=f"${{EDITOR:-vi}} {file}")
    return text


def _change(home: Home, changes: dict[str, Any], *, dry_run: bool) -> None:
    """Set keys in the file of an app that is there."""
    if not changes:
        return
    document: Any = tomlkit.parse(home.app_file.read_text(encoding="utf-8"))
    for key, value in changes.items():
        set_key(document, key, value, tomlkit.table)
    parse_app(home.name, document.unwrap())
    if not dry_run:
        home.app_file.write_text(tomlkit.dumps(document), encoding="utf-8")


def _run(home: Home) -> None:
    """Start everything, deploy, and print where it is. End the command with the deployment's status."""
    config = home.load()
    print_line(f"\nhookd runs in {home.directory}" if start(home) else f"\nhookd runs already in {home.directory}")
    status = _deploy(home)
    if status == 0:
        _print_addresses(home, config)
    sys.exit(status)


def _deploy(home: Home) -> int:
    """Deploy the head, so that changed files count too, and return the exit status."""
    try:
        main(["--config", str(home.config_file), "deploy", home.name], prog_name="hookd")
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


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
    if not home.exists:
        raise HostError(f"there is no {home.directory}", hint="hookd up")
    if purge and not yes:
        click.confirm(f"Remove {home.directory} with all releases, variables and data?", abort=True)
    print_line(f"{home.name} is stopped" if stop(home) else f"{home.name} did not run")
    if purge:
        shutil.rmtree(home.directory)
        print_line(f"removed {home.directory}")
    else:
        print_next("hookd up")


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
