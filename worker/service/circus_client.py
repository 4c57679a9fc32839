"""A small client of circus: send one command and print the answer.

`circusctl` does the same in three times the time, because it imports two event loops, and one deployment sends about
eight commands. The worker starts this program with `client_argv`.
"""

import json
import sys
from typing import Any, Final

_ENDED: Final = 3  # The status of circusctl for an error that circus answered.
_SILENT: Final = 1


def client_argv(endpoint: str, seconds: int, verb: str, name: str) -> tuple[str, ...]:
    """Return the argument vector that sends a command to `endpoint` and waits `seconds` for the answer."""
    return (sys.executable, "-P", "-m", "worker.service.circus_client", endpoint, str(seconds), verb, name)


def main(endpoint: str, seconds: str, verb: str, name: str) -> int:
    """Print the answer and return the exit status."""
    answer = _ask(endpoint, int(seconds), {"command": verb, "properties": {"name": name, "waiting": True}})
    if answer is None:
        print(f"circus did not answer at {endpoint} within {seconds} s", file=sys.stderr)
        return _SILENT
    if answer["status"] == "error":
        print(f"error: {answer.get('reason')}", file=sys.stderr)
        return _ENDED
    print(",".join(map(str, answer["pids"])) if verb == "list" else answer["status"])
    return 0


def _ask(endpoint: str, seconds: int, message: dict[str, Any]) -> dict[str, Any] | None:
    """Return the answer of circus, or None without one."""
    import zmq  # The worker imports this module too, and only for the argument vector.

    with zmq.Context() as context, context.socket(zmq.DEALER) as circus:
        circus.setsockopt(zmq.LINGER, 0)
        circus.connect(endpoint)
        circus.send_json({"id": "hookd", **message})
        if not circus.poll(1000 * seconds):
            return None
        answer: dict[str, Any] = json.loads(circus.recv())
        return answer


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
