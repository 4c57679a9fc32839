"""Every known way to make RQ run code by a write to Redis, and hashes that end its own worker."""

import json
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hookd.model import redis_keys
from tests.support.raw_jobs import Pickled, call

UNKNOWN: Final = "shop-20260304T050607000-0a1b2c"
CALL: Final = call(redis_keys.DEPLOY, UNKNOWN)
FAR: Final = "9" * 30
Fields = dict[str, Any]

# Jobs that make RQ's own worker run code. `{url}` is a web server that triggers the trap.
JSON_ROUTES: dict[str, Callable[[Path, str], Fields]] = {
    "a function": lambda marker, _: {"data": call("os.system", f"touch {marker}")},
    "a module that is imported": lambda *_: {"data": call("trap.run")},
    "a success callback": lambda *_: {"success_callback_name": "trap.run"},
    "a failure callback": lambda *_: {"failure_callback_name": "trap.run", "data": call("no.such_function")},
    "a webhook at the end": lambda _, url: {"webhooks": json.dumps([{"url": url, "job_status": "finished"}])},
    "a webhook at a failure": lambda _, url: {
        "webhooks": json.dumps([{"url": url, "job_status": "failed"}]),
        "data": call("no.such_function"),
    },
}
PICKLE_ROUTES: dict[str, Callable[[Path, str], Fields]] = {
    "a pickled call": lambda marker, _: {"data": pickle.dumps(Pickled(marker))},
    "pickled notes": lambda marker, _: {"meta": pickle.dumps(Pickled(marker))},
    "a pickled result": lambda marker, _: {"result": pickle.dumps(Pickled(marker))},
}
ROUTES = {**JSON_ROUTES, **PICKLE_ROUTES}

# Calls that no deployment needs.
CALLS: dict[str, bytes] = {
    "no argument": call(redis_keys.DEPLOY),
    "two arguments": call(redis_keys.DEPLOY, UNKNOWN, UNKNOWN),
    "an argument by name": call(redis_keys.DEPLOY, deployment_id=UNKNOWN),
    "an extra argument by name": call(redis_keys.DEPLOY, UNKNOWN, commit="a" * 40),
    "a number": call(redis_keys.DEPLOY, 5),
    "a list": call(redis_keys.DEPLOY, [UNKNOWN]),
    "a path": call(redis_keys.DEPLOY, "../../etc/passwd"),
    "an id with a line end": call(redis_keys.DEPLOY, f"{UNKNOWN}\n"),
    "an instance": call(redis_keys.DEPLOY, UNKNOWN, instance="x"),
    "an empty instance": call(redis_keys.DEPLOY, UNKNOWN, instance={}),
    "a method of a text": call("format", instance="{}"),
    "another worker function": call("worker.recovery.crashed.finish_crashed", UNKNOWN),
    "a name that is a list": call([redis_keys.DEPLOY], UNKNOWN),
    "a name that is a table": call({"name": redis_keys.DEPLOY}, UNKNOWN),
    "no name": call(None, UNKNOWN),
    "arguments that are a table": b'["worker.job.deploy", null, {"0": "x"}, {}]',
    "names that are a list": b'["worker.job.deploy", null, ["shop-20260304T050607000-0a1b2c"], []]',
}

# Hashes that RQ's own worker cannot read. It ends, one worker after the other.
UNREADABLE: dict[str, dict[Any, Any]] = {
    "a bad status": {"status": "on fire"},
    "a status that is no UTF-8": {"status": b"\xff\xfe"},
    "a bad date of creation": {"created_at": "yesterday"},
    "a bad date of the start": {"started_at": "0000-00-00"},
    "a date that is no UTF-8": {"enqueued_at": b"\xff"},
    "a bad timeout": {"timeout": "soon"},
    "a timeout with 5000 digits": {"timeout": "9" * 5000},
    "a bad time to keep the result": {"result_ttl": "1.5"},
    "an origin that is no UTF-8": {"origin": b"\xff"},
    "a description that is no UTF-8": {"description": b"\xff\xfe\xfd"},
    "a worker's name that is no UTF-8": {"worker_name": b"\xff"},
    "a bad limit": {"rate_limit_concurrency": "many"},
    "a limit's key that is no UTF-8": {"rate_limit_key": b"\xff"},
    "a call that unpacks to 200 megabytes": {"data": b""},  # Filled in by its tests, because it takes a second.
    "a call of a megabyte": {"data": b"x" * 1_000_000},
}

# Hashes that can be read but not run as requested.
UNRUNNABLE: dict[str, dict[Any, Any]] = {
    "no JSON": {"data": b"{"},
    "JSON that is no call": {"data": zlib.compress(b"5")},
    "deep JSON": {"data": zlib.compress(b"[" * 9000)},
    "a number with 5000 digits": {"data": zlib.compress(b'["worker.job.deploy",null,[' + b"9" * 5000 + b"],{}]")},
    "an empty call": {"data": b""},
    "a call that is no UTF-8": {"data": b"\xff\xfe"},
    "half a packed call": {"data": CALL[:-9]},
    "a huge description": {"data": CALL, "description": "x" * 1_000_000},
    "a timeout beyond all clocks": {"data": CALL, "timeout": FAR},
    "a timeout before the start": {"data": CALL, "timeout": "-5"},
    "a failure kept too long": {"data": CALL, "failure_ttl": FAR},
    "a failure kept for a negative time": {"data": CALL, "failure_ttl": "-" + FAR},
    "a limit with a wrong key type": {
        "data": CALL,
        "rate_limit_key": "wrong",
        "rate_limit_concurrency": "1",
    },
    "notes that are no JSON": {"data": CALL, "meta": b"\x80\x04"},
    "a field whose name is no UTF-8": {"data": CALL, b"\xff\xfe": "x"},
    "dependencies that are no list": {"data": CALL, "dependency_ids": b"\xff"},
    "a group that is none": {"data": CALL, "group_id": "nobody"},
}
