"""Who may log in: the clients file, and how clients are added to it and removed.

The file is TOML, one table for each client:

    next_number = 2

    [clients.ALICE]
    number = 1
    secret = "$argon2id$..."
    self_trade_prevention = "cancel_newest"     # or cancel_oldest, cancel_both, off
    cancel_on_disconnect = false
    orders_per_second = 2000                    # where the gateway's own limit is not to hold
    orders_burst = 500

A client's number stands for it in the list, so all gateways of an exchange share one file, or have
equal copies of it. `next_number` is above all that have been given: the number of a client that was
removed is not given to another, who would be shown the first one's events. Secrets are kept as
argon2id hashes only; `gateway.verifier` checks them.
"""

import fcntl
import os
import secrets
import string
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from feed.messages import SelfTradePrevention
from feed.settings import Settings
from gateway.soup import PASSWORD_BYTES, USER_BYTES

LARGEST_CLIENT = 2**32 - 1
SHORTEST_SECRET = 6  # SoupBinTCP allows 10 characters at most; the limit on failures does the rest
_NAME_CHARACTERS = frozenset(string.ascii_uppercase + string.digits)
_SECRET_CHARACTERS = frozenset(string.ascii_letters + string.digits + string.punctuation)
_FILE_MODE = 0o600  # for the operator who runs the gateways alone

# The second choice of OWASP's Password Storage Cheat Sheet. It takes some 25 ms and 19 MiB: a
# crowd that logs in at once after a failover waits for it.
DEFAULT_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# A thousandth of that, for benchmarks and tests alone: it keeps nobody from guessing a secret. What
# a hash costs stands in the hash, so gateways take it as any other.
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class ClientsError(ValueError):
    """The clients file can't be read, or a client can't be added to it; the text says why."""


def _self_trade_prevention(value: object) -> SelfTradePrevention:
    if isinstance(value, SelfTradePrevention):
        return value
    names = [mode.name.lower() for mode in SelfTradePrevention]
    if value not in names:
        raise ValueError(f"{value!r} is none of {', '.join(names)}")
    return SelfTradePrevention[str(value).upper()]


SelfTradePreventionField = Annotated[
    SelfTradePrevention,
    BeforeValidator(_self_trade_prevention),
    PlainSerializer(lambda mode: mode.name.lower()),
]


class ClientSettings(Settings):
    """One client's table in the clients file."""

    model_config = ConfigDict(hide_input_in_errors=True)  # a secret's hash is not for logs

    number: int = Field(ge=1, le=LARGEST_CLIENT)
    secret: str = Field(repr=False)
    self_trade_prevention: SelfTradePreventionField = SelfTradePrevention.CANCEL_NEWEST
    cancel_on_disconnect: bool = False
    orders_per_second: int | None = Field(default=None, ge=1, le=1_000_000)
    orders_burst: int | None = Field(default=None, ge=1, le=1_000_000)

    @field_validator("secret")
    @classmethod
    def _secret_is_a_hash(cls, secret: str) -> str:
        try:
            extract_parameters(secret)
        except InvalidHashError:
            raise ValueError("not an argon2 hash; use `lockstep client add`") from None
        return secret


class _ClientsFile(Settings):
    """The whole file."""

    next_number: int = Field(default=1, ge=1)  # LARGEST_CLIENT + 1 when all have been given
    clients: dict[str, ClientSettings] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_and_numbers_are_sound(self) -> "_ClientsFile":
        names: dict[int, str] = {}
        for name, client in self.clients.items():
            if name != client_name(name):
                raise ValueError(f'client "{name}" must be written "{client_name(name)}"')
            other = names.setdefault(client.number, name)
            if other != name:
                raise ValueError(f'clients "{other}" and "{name}" both have number {client.number}')
        return self

    @property
    def unused_number(self) -> int:
        """A number above all that clients have or had."""
        return max([self.next_number, *(client.number + 1 for client in self.clients.values())])


def client_name(text: str) -> str:
    """A client's name as it is kept: in capitals, since SoupBinTCP does not tell them apart.

    Raises ValueError unless it is 1 to 6 letters and digits.
    """
    name = text.upper() if text.isascii() else text
    if not 1 <= len(name) <= USER_BYTES or not _NAME_CHARACTERS.issuperset(name):
        raise ValueError(f"{text!r} is not a client's name: 1 to {USER_BYTES} letters and digits")
    return name


def new_secret() -> str:
    """A random secret of the full length, for whoever has none in mind."""
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(PASSWORD_BYTES))


def read_clients(path: Path) -> dict[str, ClientSettings]:
    """The clients of the file by name, in its order; raises ClientsError when it is not sound."""
    return _read(path).clients


def _read(path: Path) -> _ClientsFile:
    try:
        with path.open("rb") as file:
            return _ClientsFile.model_validate(tomllib.load(file))
    except OSError as error:
        raise ClientsError(f"the clients file {path} can't be read: {error.strerror}") from error
    except ValidationError as error:
        details = "; ".join(_describe(detail) for detail in error.errors())
        raise ClientsError(f"the clients file {path} is not sound: {details}") from None
    except ValueError as error:
        raise ClientsError(f"the clients file {path} is not TOML: {error}") from error


def add_client(
    path: Path,
    name: str,
    secret: str,
    *,
    number: int | None = None,
    self_trade_prevention: SelfTradePrevention = SelfTradePrevention.CANCEL_NEWEST,
    cancel_on_disconnect: bool = False,
    orders_per_second: int | None = None,
    orders_burst: int | None = None,
    hasher: PasswordHasher = DEFAULT_HASHER,
) -> ClientSettings:
    """Adds a client to the file, which is made if it is not there, and written as a whole.

    Its number is the one above the largest ever given, unless one is named here. Gateways that run
    take notice at the next log-in. Raises ClientsError when the name is taken, the name or secret
    is not fit, or the file is not sound.
    """
    name, hashed = _kept(name, secret, hasher)
    with _lock(path.parent):
        content = _read(path) if path.exists() else _ClientsFile()
        clients = content.clients
        if name in clients:
            raise ClientsError(f'there is a client "{name}" in {path} already')
        if number in {client.number for client in clients.values()}:
            raise ClientsError(f"number {number} is taken in {path}")
        try:
            client = ClientSettings(
                number=content.unused_number if number is None else number,
                secret=hashed,
                self_trade_prevention=self_trade_prevention,
                cancel_on_disconnect=cancel_on_disconnect,
                orders_per_second=orders_per_second,
                orders_burst=orders_burst,
            )
        except ValidationError as error:
            raise ClientsError("; ".join(_describe(detail) for detail in error.errors())) from None
        _write(path, content.model_copy(update={"clients": {**clients, name: client}}))
    return client


def write_clients(path: Path, secrets_by_name: Mapping[str, str], hasher: PasswordHasher) -> None:
    """Makes a file of many clients at once, with numbers from 1 on in this order.

    For benchmarks and tests, as with QUICK_HASHER: `add_client` would write the file for each one.
    Raises ClientsError when there is a file already, or a name or secret is not fit.
    """
    hashes = dict(_kept(name, secret, hasher) for name, secret in secrets_by_name.items())
    clients = {
        name: ClientSettings(number=number, secret=hashed)
        for number, (name, hashed) in enumerate(hashes.items(), 1)
    }
    with _lock(path.parent):
        if path.exists():
            raise ClientsError(f"there is a clients file {path} already")
        _write(path, _ClientsFile(clients=clients))


def remove_client(path: Path, name: str) -> None:
    """Takes a client out of the file, so that it can't log in again.

    Raises ClientsError when there is no such client, or the file is not sound.
    """
    with _lock(path.parent):
        content = _read(path)
        clients = {each: client for each, client in content.clients.items() if each != name.upper()}
        if len(clients) == len(content.clients):
            raise ClientsError(f'there is no client "{name}" in {path}')
        kept = {"clients": clients, "next_number": content.unused_number}
        _write(path, content.model_copy(update=kept))


def _kept(name: str, secret: str, hasher: PasswordHasher) -> tuple[str, str]:
    """A client's name, and the hash of its secret, as they are kept."""
    if not SHORTEST_SECRET <= len(secret) <= PASSWORD_BYTES:
        raise ClientsError(f"a secret has {SHORTEST_SECRET} to {PASSWORD_BYTES} characters")
    if not _SECRET_CHARACTERS.issuperset(secret):
        raise ClientsError("a secret is made of ASCII letters, digits and punctuation")
    try:
        name = client_name(name)
    except ValueError as error:
        raise ClientsError(str(error)) from None
    return name, hasher.hash(secret)


def _describe(detail: Any) -> str:
    place = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Holds the folder for one writer at a time, without leaving a lock file in it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise ClientsError(f"the folder {folder} can't be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
        os.fsync(descriptor)  # the new name in the folder lasts, too
    finally:
        os.close(descriptor)


def _write(path: Path, content: _ClientsFile) -> None:
    """Puts a new file in the place of the old one at once, readable for its owner alone."""
    tables = {**content.model_dump(exclude_none=True), "next_number": content.unused_number}
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, _FILE_MODE)
            tomli_w.dump(tables, file)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
