"""How a command logs in as a client: the gateways' addresses, their certificate, the secret.

A secret never stands on the command line, where every process of the machine could read it. It is
looked for in a secrets file (TOML, a line `ALICE = "secret"` for each client), then in the
environment variables LOCKSTEP_SECRET_ALICE and LOCKSTEP_SECRET, and then asked for.
"""

import os
import ssl
import sys
import tomllib
from getpass import getpass
from pathlib import Path
from typing import Annotated, TypeAlias

import tomli_w
import typer

from feed.settings import Address
from gateway.client import Client
from gateway.clients import client_name
from tools.configuration import Configuration
from tools.console import UsageError

_VARIABLE = "LOCKSTEP_SECRET"
_ANY_ADDRESS = "0.0.0.0"
_OWNER_ONLY = 0o600

SecretsOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--secrets",
        metavar="FILE",
        help='TOML with a line NAME = "secret" for each client. Without it the environment is '
        "looked at, LOCKSTEP_SECRET_NAME and then LOCKSTEP_SECRET; else you are asked.",
    ),
]


def read_secrets(path: Path) -> dict[str, str]:
    """The secrets in a file, by client, in its order.

    Raises UsageError when it can't be read or holds anything else.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; give an existing secrets file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML: {error}") from error
    secrets = {}
    for name, secret in values.items():
        if not isinstance(secret, str):
            raise UsageError(f'{path}: {name} has no secret; write {name} = "the secret"')
        secrets[_client_name(name)] = secret
    return secrets


def write_secrets(path: Path, secrets: dict[str, str]) -> None:
    """Write a file that `read_secrets` reads, for its owner alone."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
    with os.fdopen(descriptor, "w") as file:
        file.write(tomli_w.dumps(secrets))


def find_secret(name: str, secrets: Path | None) -> str:
    """A client's secret, from wherever it is to be had.

    Raises UsageError when there is none, and nobody to ask.
    """
    name = _client_name(name)
    if secrets is not None:
        secret = read_secrets(secrets).get(name)
        if secret is None:
            raise UsageError(f"{secrets}: {name} is not in it; add a line {name} = ...")
        return secret
    for variable in (f"{_VARIABLE}_{name}", _VARIABLE):
        if variable in os.environ:
            return os.environ[variable]
    if not sys.stdin.isatty():
        raise UsageError(f"no secret for {name}: set {_VARIABLE}_{name}, or give --secrets FILE")
    return getpass(f"secret of {name}: ")


def open_client(
    configuration: Configuration, name: str, secret: str, *, next_sequence: int
) -> Client:
    """A client of the configured exchange, not logged in yet; it may use any of the gateways.

    Raises UsageError when the configuration has no gateway, or its certificate can't be read.
    """
    gateways = list(configuration.gateways.values())
    if not gateways:
        raise UsageError("the configuration has no gateway; add a section [gateways.g1]")
    certificate = gateways[0].tls_certificate
    tls = None
    if certificate is not None:
        gateways = [each for each in gateways if each.tls_certificate == certificate]
        try:
            tls = ssl.create_default_context(cafile=certificate)
        except OSError as error:
            raise UsageError(f"{certificate} is no certificate to check with: {error}") from error
    addresses = [_reachable(each.listen) for each in gateways]
    try:
        return Client(addresses, name, secret, tls=tls, next_sequence=next_sequence)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _reachable(listen: Address) -> Address:
    """Where to connect to for somebody who listens there."""
    return Address("127.0.0.1", listen.port) if listen.host == _ANY_ADDRESS else listen


def _client_name(text: str) -> str:
    try:
        return client_name(text)
    except ValueError as error:
        raise UsageError(str(error)) from error
