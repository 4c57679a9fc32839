"""The demo's story: three pushes, each with the ending it must have, while visitors never see a failure."""

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
from units.demo.processes import NotReady, reconciling, running_services
from units.demo.visitors import Visitors, fetch_version


@dataclass(frozen=True)
class Act:
    """One push: what is pushed, how it must end, and which version must answer afterwards."""

    title: str
    version: str
    message: str
    ending: Status
    answers: str


ACTS: Final = (
    Act("1. A first commit is pushed", "one", "The shop opens", Status.SUCCEEDED, "one"),
    Act("2. A second commit, with a new dependency", "two", "Say how long we are open", Status.SUCCEEDED, "two"),
    Act("3. A commit that starts and does not work", "three", "Count the orders", Status.ROLLED_BACK, "two"),
)


def run_demo(console: Console, *, once: bool, keep: bool) -> int:
    """Run the demo and return its exit status: 0 when each push ended as it must and no visitor saw a failure."""
    directory = Path(tempfile.mkdtemp(prefix="hookd-"))
    for sig in (signal.SIGTERM, signal.SIGHUP):  # A window that is closed leaves nothing running, either.
        signal.signal(sig, signal.default_int_handler)
    try:
        console.print(f"Starting Redis, receiver, worker and the app's two services in {directory}", soft_wrap=True)
        place = create_environment(directory)
        with running_services(place):
            status = _run_acts(console, place)
            if not once:
                with reconciling(place):
                    _wait_for_interrupt(console, place)
        return status
    except (NotReady, RuntimeError) as error:
        console.print(f"[red]The demo could not go on:[/] {escape(str(error))}", soft_wrap=True)
        keep = True
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if keep:
            console.print(f"Everything is still in {directory}", soft_wrap=True)
        else:
            shutil.rmtree(directory, ignore_errors=True)


def _run_acts(console: Console, place: DemoEnvironment) -> int:
    records = DeploymentStore(cli_client(load(place.config).settings.redis.url), keep_seconds=86_400)
    mistakes = []
    for number, act in enumerate(ACTS):
        console.print(f"\n[bold]{act.title}[/]")
        # Before the first deployment nobody answers, and a request would wait for it.
        with Visitors(place.app_port) if number else nullcontext() as visitors:
            record = _run_act(console, place, records, act)
        mistakes += _act_failures(act, record, _serving_version(place, record))
        if visitors is not None:
            mistakes += _report_visitors(console, visitors)
        if mistakes:
            break
    for mistake in mistakes:
        console.print(f"[red]✗ {escape(mistake)}[/]", soft_wrap=True)
    return 1 if mistakes else 0


def _run_act(console: Console, place: DemoEnvironment, records: DeploymentStore, act: Act) -> Deployment:
    """Push, follow the deployment that the push caused, and show which version answers."""
    console.print(f"  $ git commit -m {act.message!r} && git push")
    known = {record.id for record in records.history(APP, 50)}
    printed = commit_and_push(place, act.version, act.message)
    for line in printed.splitlines():
        console.print(f"  [dim]{escape(line.rstrip())}[/]", soft_wrap=True)
    new = [record.id for record in records.history(APP, 50) if record.id not in known]
    if not new:
        raise RuntimeError("the push reached no receiver")
    record = follow_deployment(records, new[0], console)
    if record.status in (Status.SUCCEEDED, Status.ROLLED_BACK):
        console.print(f"  {place.app_url} answers: version [bold]{fetch_version(place.app_port)}[/]", soft_wrap=True)
    return record


def _serving_version(place: DemoEnvironment, record: Deployment) -> str:
    """The version that answers; not asked for when nothing may be there to answer."""
    return fetch_version(place.app_port) if record.status in (Status.SUCCEEDED, Status.ROLLED_BACK) else "no"


def _act_failures(act: Act, record: Deployment, answering: str) -> list[str]:
    mistakes = []
    if record.status is not act.ending:
        mistakes.append(f"{act.title}: ended {record.status}, wanted {act.ending}")
    if answering != act.answers:
        mistakes.append(f"{act.title}: version {answering} answers, wanted {act.answers}")
    return mistakes


def _report_visitors(console: Console, visitors: Visitors) -> list[str]:
    seen = visitors.seen
    by_version = ", ".join(f"{count} from {version}" for version, count in sorted(seen.versions.items()))
    console.print(
        f"  visitors meanwhile: {seen.answers} answered ({by_version}), {len(seen.failures)} failed,"
        f" slowest {seen.slowest * 1000:.0f} ms",
        soft_wrap=True,
    )
    return [f"a visitor saw: {failure}" for failure in seen.failures[:3]]


def _wait_for_interrupt(console: Console, place: DemoEnvironment) -> None:
    """Leave everything running until Ctrl-C and say what can be tried."""
    console.print(
        f"""
[bold]It stays up until Ctrl-C.[/] The app: {place.app_url}  hookd: {place.hookd_url}/apps/{APP}
In another terminal:

  . {place.environment_file}
  hookd status {APP}
  hookd logs {APP}
  cd {place.work} && sed -i 's/VERSION = .*/VERSION = "four"/; s/raise .*/return "ok"/' wsgi.py
  git -c user.name=You -c user.email=you@example.org commit -am 'Mend it' && git push origin main
  rq info
  rq requeue --queue hookd --all    # the failed one again: it finds the head that is there now
  hookd rollback {APP}
  hookd why {APP}
  chmod -x {place.remote}/hooks/post-receive    # lose the webhook: a push is live within {RECONCILE_SECONDS} s
""",
        soft_wrap=True,
    )
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        console.print("\nStopping")
