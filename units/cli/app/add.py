"""`hookd app add`: shows the plan of the repository, installs the app and deploys it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click
import tomlkit

from hookd.cli.common import fail, print_line, print_next, sudo_command
from hookd.model.app import App
from hookd.model.plan import Finding, Plan
from units.apps import manage
from units.apps.accounts.users import default_user
from units.apps.changes import VARIABLES, InitialContents
from units.apps.manage import Server
from units.apps.repository.git_access import check_access, make_deploy_key
from units.apps.repository.inspection import Branch, Head, Inspector, UnreadableRepository, server_inspector
from units.apps.table.findings import PAGE, page_of, with_findings
from units.apps.table.keys import parse_change, set_key
from units.apps.table.options import AddOptions, app_table, parse_remote, with_data_place
from units.cli import common
from units.cli.app.shared import (
    accept_keys,
    prepare_repository_access,
    print_unreadable,
    print_webhook_settings,
    read_app_file,
    sender_option,
)
from units.cli.plan.agree import Proposal, accept_option, settle
from units.cli.plan.show import show_plan
from units.cli.plan.variables import Places, is_interactive, list_unset
from units.cli.typed_files import completed_table, read_contents
from units.setup import certify
from units.system import layout
from units.system.errors import Refused

# The keys of the options that overrule what is found.
_KEYS: Final = {
    "directory": "service.directory",
    "entry": "service.entry",
    "workers": "service.workers",
    "health": PAGE,
    "data": "shared.directories",
}
# Parameters that are no option of the app's table.
_NO_VALUES: Final = ("branch", "env_file", "changes", "yes")


@click.command("add", epilog="Example: sudo hookd app add shop --repo git@github.com:acme/shop.git")
@click.argument("name")
@click.option("--repo", help="git@HOST:OWNER/NAME.git, ssh://… or https://…")
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The app's TOML file, in place of --repo.",
)
@click.option("--branch", default="", help="The branch to deploy, default: the repository's own.")
@click.option("--full-name", help="OWNER/NAME at the git host, default: the end of the URL.")
@sender_option
@click.option("--domain", help="Make an nginx site for this name.")
@click.option("--no-tls", is_flag=True, help="Plain HTTP, also after `hookd setup --tls`.")
@click.option("--directory", help="The app's directory in the repository, default: the one with an app.")
@click.option("--entry", help="The WSGI or ASGI callable, MODULE:NAME, default: found in the repository.")
@click.option("--health", help="The page for health checks, default: found in the repository.")
@click.option("--handover", type=click.Choice(["blue-green", "restart"]), help="Default: blue-green if memory allows.")
@click.option("--listen", help="HOST:PORT or unix:/path, default: /run/hookd-apps/NAME.sock.")
@click.option("--workers", type=int, help="gunicorn's processes, default: 2.")
@click.option(
    "--policy",
    type=click.Choice(["group", "split", "acl"]),
    default="group",
    show_default=True,
    help="The owners and modes of the app's files.",
)
@click.option("--user", help="The app's user, made if it is missing, default: one of its own, www-data for the first.")
@click.option("--env-file", type=click.Path(path_type=Path), help="The app's variables (NAME=value lines), copied.")
@click.option(
    "--file", "files", multiple=True, metavar="NAME[=PATH]", help="A file outside the releases, such as .env."
)
@click.option("--data", multiple=True, metavar="NAME", help="A directory outside the releases, such as uploads.")
@click.option("--process", "processes", multiple=True, metavar="NAME=COMMAND", help="A process beside the web process.")
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Any other key of the app's file.")
@accept_option
@click.option("--no-deploy", is_flag=True, help="Do not deploy it yet.")
@common.dry_run_option
@common.requires_root
def add(name: str, file: Path | None, repo: str | None, no_deploy: bool, dry_run: bool, **options: Any) -> None:
    """Add an app to this server and deploy it."""
    common.require_setup()
    if (file is None) == (repo is None):
        raise Refused(["an app needs either --repo URL or --from FILE"])
    contents = read_contents(options)
    if file is not None:
        with common.host_lock(dry_run=dry_run) as server:
            table = completed_table(server, name, file, options)
            app = manage.add(server, name, table, contents, print_line, dry_run=dry_run)
    else:
        request = _Request(name, str(repo), options, contents, options["branch"], dry_run)
        app = _add_found(request)
    if not dry_run:
        _finish(app, deploys=not no_deploy)


@dataclass(frozen=True)
class _Request:
    """A typed command, with the contents of the files that it names."""

    name: str
    repository: str
    options: Mapping[str, Any]
    contents: InitialContents
    branch: str
    dry_run: bool

    def table(self, server: Server, plan: Plan | None = None, findings: tuple[Finding, ...] = ()) -> dict[str, Any]:
        """Return the app's table: the options over the findings. An existing app's file stands for the findings."""
        known = server.catalogue.get(self.name)
        chosen = {key: value for key, value in self.options.items() if key not in _NO_VALUES}
        user = self.options["user"] or default_user(self.name, server.catalogue, server.manifest)
        names = tuple(item.split("=", 1)[0] for item in self.options["files"])
        branch = self.branch or (known.branch if known else "main")
        chosen |= {"branch": branch, "files": names, "user": user}
        options = AddOptions(name=self.name, repository=self.repository, **chosen)
        found = {finding.key: finding.value for finding in findings}
        if "service.command" in found:
            listen = options.listen or found.get("service.listen")
            options = replace(options, handover=options.handover or "restart", listen=listen)
        page = page_of(plan) if plan else "/healthz"
        table = app_table(options, memory_mib=server.host.memory_mib, page=page)
        for change in self.options["changes"]:
            set_key(table, *parse_change(change))
        if known is not None:
            return _over(tomlkit.parse(read_app_file(known)).unwrap(), table, with_page=bool(options.health))
        return with_data_place(self.name, with_findings(table, findings, page=self.options["health"]))

    def install(self, server: Server, table: Mapping[str, Any], contents: InitialContents) -> App:
        """Install the app with a table. Raises Refused before any change."""
        return manage.add(server, self.name, table, contents, print_line, dry_run=self.dry_run)

    @property
    def given(self) -> set[str]:
        """The keys that the options set."""
        typed = {key for name, key in _KEYS.items() if self.options[name]}
        return typed | {parse_change(change)[0] for change in self.options["changes"]}


def _over(existing: dict[str, Any], table: Mapping[str, Any], *, with_page: bool) -> dict[str, Any]:
    """Return an existing app's table with the values of options, to compare them."""
    for key, value in table.items():
        if isinstance(value, Mapping) and isinstance(existing.get(key), dict):
            kept = existing[key].get("url") if key == "health" and not with_page else None
            existing[key] |= value
            existing[key] |= {"url": kept} if kept else {}
        else:
            existing[key] = value
    return existing


def _add_found(request: _Request) -> App:
    """Install an app with what is found in its repository. Raises HostError before any change."""
    with common.host_lock(dry_run=request.dry_run) as server:
        manage.check_add(server, request.name, request.table(server), request.contents)
        branch = None if server.catalogue.get(request.name) else _branch(request)
    if branch is None:
        return _install_without_plan(request)
    inspector = server_inspector()
    try:
        head = _fetch(request, inspector, branch)
    except UnreadableRepository as error:
        if not request.dry_run:
            raise
        print_line(f"{error}, so the plan is not known yet")
        return _install_without_plan(request)
    done = False
    try:
        plan = inspector.find(head, request.options["directory"])
        show_plan(request.repository, head, plan, request.given)
        app = _install_agreed(replace(request, branch=head.branch), server, plan)
        done = not request.dry_run
    finally:
        if not done:
            inspector.forget(head)
    return app


def _install_agreed(request: _Request, server: Server, plan: Plan) -> App:
    """Ask about the plan and the variables, and install the app."""
    first = request.contents.environment or VARIABLES.format(name=request.name)
    places = Places(str(layout.app_data(request.name)), request.options["domain"] or "localhost")
    proposal = Proposal(plan, lambda findings: request.table(server, plan, findings), places, sudo_command())
    agreed = settle(proposal, first, yes=request.options["yes"], dry_run=request.dry_run)
    is_same = agreed.variables == first
    contents = request.contents if is_same else replace(request.contents, environment=agreed.variables)
    with common.host_lock(dry_run=request.dry_run) as now:
        app = request.install(now, agreed.table(lambda findings: request.table(now, plan, findings)), contents)
    if not request.dry_run:
        list_unset(plan.variables, agreed.variables, f"sudo hookd env set {request.name} {{name}}")
    return app


def _install_without_plan(request: _Request) -> App:
    """Install an app with the options alone."""
    with common.host_lock(dry_run=request.dry_run) as server:
        return request.install(server, request.table(server), request.contents)


def _branch(request: _Request) -> Branch:
    """Return the branch of the repository, with a new deploy key for ssh."""
    remote = parse_remote(request.repository)
    if not remote.ssh:
        return Branch(request.name, request.repository, request.branch)
    if not request.dry_run:
        make_deploy_key(request.name)
        accept_keys(remote)
    return Branch(request.name, request.repository, request.branch, str(layout.deploy_key(request.name)))


def _fetch(request: _Request, inspector: Inspector, branch: Branch) -> Head:
    """Fetch the branch. Ask a person to paste the key, as often as it is missing. Raises UnreadableRepository."""
    while True:
        try:
            return inspector.fetch(branch)
        except UnreadableRepository as error:
            if request.dry_run:
                raise
            print_unreadable(str(error))
            if branch.key:
                print_line("Paste at the git host, as a read-only key of the repository:")
                print_line(f"  deploy key    {make_deploy_key(branch.app)}   (read only)")
            if not (branch.key and is_interactive()):
                paste = "paste the key, then the same command again" if branch.key else "make it readable without a key"
                fail(paste, hint=sudo_command(), status=common.FAILED)
            click.prompt("Then press Enter", default="", show_default=False)


def _finish(app: App, *, deploys: bool) -> None:
    """Print the webhook's values, and deploy the app if its repository can be read."""
    with common.host_lock() as server:
        certify(server, print_line, only=app.site.domain or "")
    key = prepare_repository_access(app)
    print_webhook_settings(common.load_server(), app, key)
    if problem := check_access(app.name):
        print_unreadable(problem)
        print_line("  paste the key" if key else "  make the repository readable without a key")
        print_next(f"sudo hookd deploy {app.name}")
        return
    if not deploys:
        print_next(f"sudo hookd deploy {app.name}")
        return
    print_line("\nFirst deployment:")
    sys.exit(common.run_deploy(app.name))
