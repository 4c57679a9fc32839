"""The demo's story: three pushes with their expected endings, while visitors see no failure."""

import shlex
import shutil
import signal
import tempfile
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from redis.exceptions import RedisError

from hookd.cli.common import fail, print_line, styled
from hookd.cli.progress import follow_deployment
from hookd.config import Config, load
from hookd.model.deployment import Deployment, Status
from hookd.queue.client import cli_client
from hookd.queue.deployments import DeploymentStore
from units.demo.environment import APP, RECONCILE_SECONDS, DemoEnvironment, commit_and_push, create_environment
from units.demo.processes import reconciling, running_services
from units.demo.visitors import VisitorStats, fetch_version, visiting
from units.system.errors import HostError
from units.system.run import CommandFailed


@dataclass(frozen=True)
class Act:
    """One push: its version, its expected ending, and the version that must serve afterwards."""

    title: str
    version: str
    message: str
    ending: Status
    serves: str


ACTS: Final = (
    Act("1. A first commit is pushed", "one", "The shop opens", Status.SUCCEEDED, "one"),
    Act("2. A second commit, with a new dependency", "two", "Say how long we are open", Status.SUCCEEDED, "two"),
    Act("3. A commit that starts and does not work", "three", "Count the orders", Status.ROLLED_BACK, "two"),
)


@click.command(epilog="Example: hookd demo --once")
@click.option("--once", is_flag=True, help="End after the three deployments.")
@click.option("--keep", is_flag=True, help="Keep the demo's directory.")
def demo(once: bool, keep: bool) -> None:
    """Show a push, a new dependency and a rollback here."""
    directory = Path(tempfile.mkdtemp(prefix="hookd-"))
    # A closed window stops all services too. A shell's `&` starts programs that ignore SIGINT.
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.default_int_handler)
    try:
        print_line(f"Starting Redis, receiver, worker and the app's two services in {directory}")
        environment = create_environment(directory)
        with running_services(environment):
            _run_acts(environment)
            if not once:
                with reconciling(environment):
                    _wait_for_interrupt(environment)
    except (HostError, CommandFailed, RedisError) as error:
        keep = True
        # The services have ended, so `hookd logs` would find no Redis.
        logs = f"cd {shlex.quote(str(directory))} && tail -n 30 services.log state/logs/{APP}/*"
        fail(f"the demo stopped: {error}", hint=getattr(error, "hint", None) or logs, status=1)
    finally:
        if keep:
            print_line(f"Everything is still in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _run_acts(demo: DemoEnvironment) -> None:
    """Run the acts. Raises HostError if one ends otherwise than expected, or if a visitor sees a failure."""
    config = load(demo.home.config_file)
    store = DeploymentStore(cli_client(config.settings.redis.url), keep_seconds=86_400)
    for number, act in enumerate(ACTS):
        print_line(f"\n{act.title}", bold=True)
        # Before the first deployment, a request would wait for it.
        with visiting(demo.app_port) if number else nullcontext() as stats:
            record = _run_act(demo, config, store, act)
        _check_ending(demo, act, record)
        if stats is not None:
            _check_visitors(stats)


def _run_act(demo: DemoEnvironment, config: Config, store: DeploymentStore, act: Act) -> Deployment:
    """Push, and follow the deployment of the push."""
    print_line(f"  $ git commit -m {act.message!r} && git push")
    known = {record.id for record in store.history(APP, 50)}
    for line in commit_and_push(demo, act.version, act.message).splitlines():
        print_line(f"  {line.rstrip()}", dim=True)
    new = [record.id for record in store.history(APP, 50) if record.id not in known]
    if not new:
        raise HostError("the push did not reach the receiver")
    return follow_deployment(config, store, new[0], shows_hint=False)


def _check_ending(demo: DemoEnvironment, act: Act, record: Deployment) -> None:
    if record.status is not act.ending:
        raise HostError(f"the deployment ended {record.status}, expected {act.ending}")
    version = fetch_version(demo.app_port)
    click.echo(f"  {demo.app_url} answers: version {styled(version, bold=True)}")
    if version != act.serves:
        raise HostError(f"version {version} answers, expected {act.serves}")


def _check_visitors(stats: VisitorStats) -> None:
    by_version = ", ".join(f"{count} from {version}" for version, count in sorted(stats.versions.items()))
    print_line(
        f"  visitors meanwhile: {sum(stats.versions.values())} answered ({by_version}), {len(stats.failures)} failed,"
        f" slowest {stats.slowest * 1000:.0f} ms"
    )
    if stats.failures:
        raise HostError(f"a visitor saw: {stats.failures[0]}")


def _wait_for_interrupt(demo: DemoEnvironment) -> None:
    """Print commands to try, and wait for Ctrl-C."""
    click.echo(
        f"""
{styled("It stays up until Ctrl-C.", bold=True)} The app: {demo.app_url}  hookd: {demo.hookd_url}/apps/{APP}
In another terminal:

  . {demo.environment_file}
  hookd status {APP}
  hookd logs {APP}
  cd {demo.work} && sed -i 's/VERSION = .*/VERSION = "four"/; s/raise .*/return "ok"/' wsgi.py
  git -c user.name=You -c user.email=you@example.org commit -am 'Fix it' && git push origin main
  rq info
  rq requeue --queue hookd --all    # deploy the current head again
  hookd rollback {APP}
  hookd why {APP}
  chmod -x {demo.remote}/hooks/post-receive    # no webhook any more: a push is live within {RECONCILE_SECONDS} s
"""
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("\nStopping")
