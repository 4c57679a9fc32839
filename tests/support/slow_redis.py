"""A proxy before a Redis that delays its answers."""

import math
import socket
import threading
import time
from pathlib import Path


class Slow:
    """Stands before a Redis and holds each of its answers back for a while, and all after some of them for good."""

    def __init__(self, path: Path, behind: Path, seconds: float) -> None:
        self._behind, self.seconds, self.left = behind, seconds, math.inf
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._socket.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._behind))
            for source, target, waits in ((caller, server, False), (server, caller, True)):
                threading.Thread(target=self._pass_on, args=(source, target, waits), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, waits: bool) -> None:
        try:
            while data := source.recv(65536):
                time.sleep(self.seconds if waits else 0)
                self.left -= waits
                while waits and self.left < 0:
                    time.sleep(0.01)
                target.sendall(data)
        except OSError:
            pass
        for end in (source, target):
            end.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
