"""Sends one command to circus and prints the answer, as `circusctl` does in a third of its time.

`circusctl` imports two event loops before it asks, and one deployment asks about eight times.
"""

import json
import sys
from typing import Any, Final

_ENDED: Final = 3  # circus answered with an error, as circusctl's own status says.
_SILENT: Final = 1


def circus_argv(endpoint: str, seconds: int, verb: str, name: str) -> tuple[str, ...]:
    """Return the argument vector that asks circus at `endpoint` and waits for its answer for some seconds."""
    return (sys.executable, "-P", "-m", "worker.service.circus", endpoint, str(seconds), verb, name)


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
    """Return circus's answer; None when there was none."""
    import zmq  # The worker reads the argument vector above and asks nothing itself.

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
