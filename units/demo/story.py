"""The demo's story: three pushes with their expected endings, while visitors see no failure."""

import shutil
import signal
import tempfile
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from hookd.cli.progress import follow_deployment
from hookd.config import load
from hookd.model.deployment import Deployment, Status
from hookd.queue.client import cli_client
from hookd.queue.deployments import DeploymentStore
from units.demo.environment import APP, RECONCILE_SECONDS, DemoEnvironment, commit_and_push, create_environment
from units.demo.processes import reconciling, running_services
from units.demo.visitors import Visitors, fetch_version
from units.system.errors import HostError
from units.system.run import CommandFailed

_SERVING: Final = (Status.SUCCEEDED, Status.ROLLED_BACK)


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


def run_demo(console: Console, *, once: bool, keep: bool) -> int:
    """Run the demo. Return 0 if each push ended as expected and no visitor saw a failure."""
    directory = Path(tempfile.mkdtemp(prefix="hookd-"))
    for sig in (signal.SIGTERM, signal.SIGHUP):  # A closed window stops all services too.
        signal.signal(sig, signal.default_int_handler)
    try:
        console.print(f"Starting Redis, receiver, worker and the app's two services in {directory}", soft_wrap=True)
        demo = create_environment(directory)
        with running_services(demo):
            status = _run_acts(console, demo)
            if not once:
                with reconciling(demo):
                    _wait_for_interrupt(console, demo)
        return status
    except (HostError, CommandFailed) as error:
        console.print(f"[red]The demo stopped:[/] {escape(str(error))}", soft_wrap=True)
        if hint := getattr(error, "hint", None):
            console.print(f"  next: {escape(hint)}", soft_wrap=True)
        keep = True
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if keep:
            console.print(f"Everything is still in {directory}", soft_wrap=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _run_acts(console: Console, demo: DemoEnvironment) -> int:
    store = DeploymentStore(cli_client(load(demo.config).settings.redis.url), keep_seconds=86_400)
    failures: list[str] = []
    for number, act in enumerate(ACTS):
        console.print(f"\n[bold]{act.title}[/]")
        # Before the first deployment, a request would wait for it.
        with Visitors(demo.app_port) if number else nullcontext() as visitors:
            record = _run_act(console, demo, store, act)
        failures += _act_failures(console, demo, act, record)
        if visitors is not None:
            failures += _report_visitors(console, visitors)
        if failures:
            break
    for failure in failures:
        console.print(f"[red]✗ {escape(failure)}[/]", soft_wrap=True)
    return 1 if failures else 0


def _run_act(console: Console, demo: DemoEnvironment, store: DeploymentStore, act: Act) -> Deployment:
    """Push, and follow the deployment of the push."""
    console.print(f"  $ git commit -m {act.message!r} && git push")
    known = {record.id for record in store.history(APP, 50)}
    printed = commit_and_push(demo, act.version, act.message)
    for line in printed.splitlines():
        console.print(f"  [dim]{escape(line.rstrip())}[/]", soft_wrap=True)
    new = [record.id for record in store.history(APP, 50) if record.id not in known]
    if not new:
        raise HostError("the push did not reach the receiver")
    return follow_deployment(store, new[0], console)


def _act_failures(console: Console, demo: DemoEnvironment, act: Act, record: Deployment) -> list[str]:
    """Print the serving version, and compare it and the ending with the expected ones."""
    version = "no"
    if record.status in _SERVING:
        version = fetch_version(demo.app_port)
        console.print(f"  {demo.app_url} answers: version [bold]{version}[/]", soft_wrap=True)
    failures = []
    if record.status is not act.ending:
        failures.append(f"{act.title}: ended {record.status}, expected {act.ending}")
    if version != act.serves:
        failures.append(f"{act.title}: version {version} answers, expected {act.serves}")
    return failures


def _report_visitors(console: Console, visitors: Visitors) -> list[str]:
    stats = visitors.stats
    by_version = ", ".join(f"{count} from {version}" for version, count in sorted(stats.versions.items()))
    console.print(
        f"  visitors meanwhile: {sum(stats.versions.values())} answered ({by_version}), {len(stats.failures)} failed,"
        f" slowest {stats.slowest * 1000:.0f} ms",
        soft_wrap=True,
    )
    return [f"a visitor saw: {failure}" for failure in stats.failures[:3]]


def _wait_for_interrupt(console: Console, demo: DemoEnvironment) -> None:
    """Print commands to try, and wait for Ctrl-C."""
    console.print(
        f"""
[bold]It stays up until Ctrl-C.[/] The app: {demo.app_url}  hookd: {demo.hookd_url}/apps/{APP}
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
""",
        soft_wrap=True,
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print("\nStopping")
