"""The workspace that a script speaks to, and how it tells what went wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from urllib.parse import urlsplit

import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import DatabricksError, PermissionDenied, Unauthenticated
from targets import SettingError

# How long a request is tried again, in seconds: after a lost connection or a rate limit.
PATIENCE_SECONDS = 120
_TOKEN = "DATABRICKS_TOKEN"  # noqa: S105 - where it is, not what it is
_HERE = ("localhost", "127.0.0.1", "::1")


class WorkspaceError(Exception):
    """Something in the workspace is not as it should be; the message says what to do."""


def connect(host: str, patience: int = PATIENCE_SECONDS) -> WorkspaceClient:
    """A client of the workspace, with the token of the environment and with nothing else.

    Args:
        host: The address of the workspace, `https://...`.
        patience: How long a request is tried again, in seconds.

    Raises:
        SettingError: There is no token, or it would travel in the clear.
        WorkspaceError: Nothing answers there.
    """
    token = os.environ.get(_TOKEN)
    if not token:
        raise SettingError(f"There is no token. Set {_TOKEN}, in the environment alone.")
    parts = urlsplit(host if "://" in host else f"https://{host}")
    if parts.scheme != "https" and parts.hostname not in _HERE:
        raise SettingError(f"{parts.scheme}://{parts.hostname} would see the token. Use https.")
    if parts.username or parts.password:
        raise SettingError("The address has a secret in it. Give it without, as https://NAME.")
    address = f"{parts.scheme}://{parts.netloc}"
    try:  # The client itself would try for minutes.
        requests.get(f"{address}/.well-known/databricks-config", timeout=10)
    except requests.RequestException:
        raise WorkspaceError(f"Nothing answers at {address}. Check the address.") from None
    return WorkspaceClient(
        config=Config(
            host=address,
            token=token,
            auth_type="pat",
            retry_timeout_seconds=patience,
            debug_headers=False,  # they hold the token
            product="lakehouse",
        )
    )


def say(text: str) -> None:
    """Prints a text without the token, should a server have given it back."""
    print(_without_token(text))


def exit_code(work: Callable[[], None]) -> int:
    """Runs a script's work, and tells in one line what went wrong.

    Returns:
        0 done, 1 failed, 2 wrong use.
    """
    try:
        work()
    except SettingError as error:
        fault, code = str(error), 2
    except WorkspaceError as error:
        fault, code = str(error), 1
    except (Unauthenticated, PermissionDenied) as error:
        fault = f"The workspace refuses: {_message(error)}. Check the rights of {_TOKEN}."
        code = 1
    except DatabricksError as error:
        fault, code = f"The workspace answers {error.error_code}: {_message(error)}. Try again.", 1
    except (requests.RequestException, TimeoutError) as error:
        fault, code = f"The workspace does not answer: {error}. Try again.", 1
    else:
        return 0
    print(_without_token(" ".join(fault.split())), file=sys.stderr)
    return code


def _message(error: DatabricksError) -> str:
    """What the workspace says; the client adds how it is set up."""
    return str(error).partition(". Config: ")[0]


def _without_token(text: str) -> str:
    token = os.environ.get(_TOKEN)
    return text.replace(token, "***") if token else text
