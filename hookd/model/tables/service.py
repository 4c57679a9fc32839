"""The table `service` of an app: its processes, their manager, and the colours of a blue-green handover."""

from typing import Final, Literal, Self, get_args

from pydantic import Field, model_validator

from hookd.model.tables.fields import (
    AbsolutePath,
    Argv,
    Entry,
    InsidePath,
    Listen,
    MemorySize,
    Section,
    ServiceName,
    Words,
)

Colour = Literal["blue", "green"]
COLOURS: Final[tuple[Colour, ...]] = get_args(Colour)


def idle_colour(serving: Colour | None) -> Colour:
    """Return the colour that starts the next release."""
    return "green" if serving == "blue" else "blue"


class Service(Section):
    """The app's service and its handover."""

    manager: Literal["systemd", "circus"] = Field("systemd", description="The process manager of the app.")
    name: str = Field(
        "", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}$|^$", description="Unit or watcher. Default: the app's name."
    )
    endpoint: str | None = Field(None, pattern=r"^ipc:///[^\s]+$", description="circus only: its command socket.")
    handover: Literal["restart", "blue-green"] = Field(
        "restart",
        description="`blue-green`: `<name>-blue` and `<name>-green` by turns, without a pause.",
    )
    units: Literal["existing", "hookd"] = Field(
        "existing", description="The systemd units: your own, or rendered by `hookd app`."
    )
    listen: Listen | None = Field(
        None,
        description="The socket of hookd's units: `HOST:PORT` or `unix:/path`. Default: /run/hookd-apps/<app>.sock.",
    )
    own_socket: bool = Field(False, description="An existing unit has a socket unit of the same name.")
    worker_class: Literal["gthread", "sync", "gevent", "eventlet", "asgi"] = Field(
        "gthread", description="gunicorn's worker class. asgi for FastAPI, Starlette and Quart."
    )
    workers: int = Field(2, ge=1, le=64, description="gunicorn's processes in hookd's units.")
    threads: int = Field(4, ge=1, le=256, description="Concurrent requests of one gunicorn process.")
    memory_max: MemorySize = Field("75%", description="Memory of one service in hookd's units, and of each phase.")
    tasks_max: int | None = Field(
        None, ge=32, le=65_536, description="Its processes and threads. Default: 1024, or enough for gunicorn's."
    )
    environment_file: AbsolutePath | None = Field(
        None, description="The service's variables (KEY=value lines) in hookd's units. systemd reads the file as root."
    )
    entry: Entry = Field(
        "wsgi:app",
        description="The callable, as gunicorn takes it: `module:app`, or `module:create_app('production')`.",
    )
    command: Argv | None = Field(
        None,
        description="A server of the app's own in place of gunicorn. It listens on `listen` (`HOST:PORT`, which `HOST` "
        "and `PORT` name), or on the socket that systemd passes (`LISTEN_FDS`).",
    )
    directory: InsidePath | None = Field(
        None, description="The app's directory in the repository, such as `backend`. Default: the top."
    )
    restart_also: tuple[ServiceName, ...] = Field(
        (), description="Services of yours that work in the app's directory. They restart after each switch."
    )
    preflight: Words | None = Field(
        None,
        description="The check of a release before the switch. Default: gunicorn loads the entry. [] for none.",
    )

    @property
    def own_address(self) -> str | None:
        """The `HOST:PORT` on which the app's own command listens, or None if it is given a socket."""
        listen = self.listen or ""
        return listen if self.command and listen and not listen.startswith("unix:") else None

    @property
    def gunicorn_options(self) -> tuple[str, ...]:
        """The options of gunicorn that the app's file sets. Others are left to the app's own gunicorn.conf.py."""
        names = [name for name in ("worker_class", "workers", "threads") if name in self.model_fields_set]
        return tuple(word for name in names for word in (f"--{name.replace('_', '-')}", str(getattr(self, name))))

    @property
    def tasks_limit(self) -> int:
        """The limit of processes and threads. Libraries for numbers start a thread per core and worker."""
        return self.tasks_max or max(1024, 2 * self.workers * (self.threads + 2))

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if (self.manager == "circus") != (self.endpoint is not None):
            raise ValueError('endpoint belongs to manager = "circus", and only to it')
        if self.command and (self.handover != "restart" or (self.manager == "systemd" and self.units == "existing")):
            raise ValueError('command only with handover = "restart", and with systemd with units = "hookd"')
        if self.own_socket and (self.units == "hookd" or self.listen):
            raise ValueError('own_socket belongs to units = "existing", and instead of listen')
        return self
