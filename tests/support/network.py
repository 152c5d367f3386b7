"""A network between a program and a server, with outages."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 16


class Network:
    """A forwarder from `port` of this machine to a server.

    While `silent`, nothing passes in any direction, without an error. `cut` ends all connections and refuses new ones.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._passes = threading.Event()
        self._passes.set()
        self._over = False
        self._sockets: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def silent(self) -> None:
        self._passes.clear()

    def cut(self) -> None:
        # Closed alone, it would accept one more connection, for the thread that waits for it.
        _end(self._listener)
        self._listener.close()
        for each in list(self._sockets):
            _end(each)

    def back(self) -> None:
        """Restore the network; cut connections stay cut."""
        if self._listener.fileno() == -1:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            threading.Thread(target=self._accept, daemon=True).start()
        self._passes.set()

    def close(self) -> None:
        self._over = True
        self._passes.set()
        self.cut()

    def _accept(self) -> None:
        listener = self._listener
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        self._passes.wait()
        with near, socket.create_connection(self._server) as far:
            pair = {near: far, far: near}
            self._sockets |= set(pair)
            with suppress(OSError, ValueError):
                self._relay(pair)
            self._sockets -= set(pair)

    def _relay(self, pair: dict[socket.socket, socket.socket]) -> None:
        with selectors.DefaultSelector() as selector:
            for source, target in pair.items():
                selector.register(source, selectors.EVENT_READ, target)
            while not self._over:
                for key, _ in selector.select():
                    data = pair[key.data].recv(_CHUNK)
                    self._passes.wait()
                    if not data:
                        return
                    key.data.sendall(data)


@contextmanager
def network_to(host: str, port: int) -> Iterator[Network]:
    network = Network(host, port)
    try:
        yield network
    finally:
        network.close()


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
