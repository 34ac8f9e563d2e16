"""Checks the secrets of log-ins against the clients file, at the same cost for every wrong one."""

import hashlib
import hmac
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path

import structlog
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import VerifyMismatchError

from gateway.clients import DEFAULT_HASHER, ClientsError, ClientSettings, read_clients

log = structlog.get_logger()


class Verifier:
    """Checks secrets against the clients file; may be called from several threads at once.

    A check takes as long for a name that is not there as for one that is. A secret that proved
    right is remembered, as a digest under a key that only this object has, so that its client can
    come back at once when everybody does; a wrong one always costs a whole argon2 hash. The file is
    read anew when it has changed; one that is not sound changes nothing.
    """

    def __init__(self, path: Path, hasher: PasswordHasher = DEFAULT_HASHER) -> None:
        """Raises ClientsError when the file can't be read."""
        self._path = path
        self._lock = threading.Lock()
        self._hasher = hasher
        self._key = secrets.token_bytes(32)
        self._remembered: dict[str, bytes] = {}  # by name; no more than there are clients
        self._version = self._file_version()
        self._clients = read_clients(path)
        self._decoy = _decoy(hasher, self._clients)

    def verify(self, name: str, secret: str) -> ClientSettings | None:
        """The client that this name and secret belong to, or None; takes some 25 ms and 19 MiB."""
        with self._lock:
            self._read_if_changed()
            client = self._clients.get(name.upper())
            decoy = self._decoy
        if client is None:
            self._matches(decoy, secret)
            return None
        digest = self._digest(client, secret)
        remembered = self._remembered.get(name.upper(), b"")
        if hmac.compare_digest(remembered, digest):
            return client
        if not self._matches(client.secret, secret):
            return None
        with self._lock:
            self._remembered[name.upper()] = digest
        return client

    def _matches(self, hashed: str, secret: str) -> bool:
        try:
            return self._hasher.verify(hashed, secret)
        except VerifyMismatchError:
            return False

    def _digest(self, client: ClientSettings, secret: str) -> bytes:
        """Depends on the hash in the file too: a changed secret is a forgotten one."""
        text = f"{client.secret}\n{secret}".encode()
        return hashlib.blake2b(text, key=self._key).digest()

    def _read_if_changed(self) -> None:
        version = self._file_version()
        if version == self._version:
            return
        self._version = version
        try:
            clients = read_clients(self._path)
        except ClientsError as error:
            log.error("clients file not taken; who could log in before still can", why=str(error))
            return
        self._clients = clients
        self._decoy = _decoy(self._hasher, clients)
        self._remembered = {name: self._remembered.get(name, b"") for name in clients}
        log.info("clients file read", clients=len(clients))

    def _file_version(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def _decoy(hasher: PasswordHasher, clients: Mapping[str, ClientSettings]) -> str:
    """A hash that nothing matches, of the cost of the file's costliest."""
    costs = [extract_parameters(client.secret) for client in clients.values()]
    if costs:
        cost = max(costs, key=lambda cost: cost.time_cost * cost.memory_cost)
        hasher = PasswordHasher(
            cost.time_cost, cost.memory_cost, cost.parallelism, cost.hash_len, cost.salt_len
        )
    return hasher.hash(secrets.token_bytes(32))
