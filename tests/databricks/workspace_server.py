"""A workspace on the loopback address, which takes only what the SDK's own types allow."""

from __future__ import annotations

import _socket
import dataclasses
import enum
import inspect
import json
import os
import re
import socket
import threading
import types
import typing
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest
from databricks.sdk.clock import RealClock
from databricks.sdk.service import jobs, sql

from tests.databricks.scripts import COMMIT

TOKEN = "dapi-of-the-tests-that-nobody-must-see"  # noqa: S105
OWNER = "who-deploys@example.com"


def misfits(value: Any, hint: Any, where: str = "") -> list[str]:  # noqa: PLR0911 - a kind each
    """Where a value of JSON is not what a type of the SDK allows, a line each."""
    if hint is Any:
        return []
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        [inner] = [one for one in typing.get_args(hint) if one is not type(None)]
        return [] if value is None else misfits(value, inner, where)
    if origin is list:
        if not isinstance(value, list):
            return [f"{where}: {value!r} is no list"]
        [inner] = typing.get_args(hint)
        return [
            fault for at, one in enumerate(value) for fault in misfits(one, inner, f"{where}[{at}]")
        ]
    if origin is dict:
        _, inner = typing.get_args(hint)
        return [
            fault for key, one in value.items() for fault in misfits(one, inner, f"{where}.{key}")
        ]
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        required = {
            field.name
            for field in dataclasses.fields(hint)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        return _misfits_of_fields(value, hints, required, where)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        allowed = {one.value for one in hint}
        return [] if value in allowed else [f"{where}: {value!r} is none of {sorted(allowed)}"]
    return [] if type(value) is hint else [f"{where}: {value!r} is no {hint.__name__}"]


def misfits_of_call(value: Any, method: Any) -> list[str]:
    """Where the body of a request is not what a method of the SDK would send."""
    parameters = inspect.signature(method).parameters
    hints = typing.get_type_hints(method)
    hints = {name: hints[name] for name in parameters if name in hints}
    required = {name for name in hints if parameters[name].default is inspect.Parameter.empty}
    return _misfits_of_fields(value, hints, required, "")


def _misfits_of_fields(
    value: Any, hints: dict[str, Any], required: set[str], where: str
) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where}: {value!r} is no object"]
    unknown = [f"{where}.{name} is unknown" for name in value if name not in hints]
    missing = [f"{where}.{name} is missing" for name in required if name not in value]
    return [
        *unknown,
        *missing,
        *(
            fault
            for name, one in value.items()
            if name in hints
            for fault in misfits(one, hints[name], f"{where}.{name}")
        ),
    ]


class WorkspaceServer(ThreadingHTTPServer):
    """A workspace with jobs, files and a warehouse.

    Attributes:
        jobs: The settings of the jobs, by id.
        permissions: By job, the permissions that are not inherited: principal, name, level.
        files: What was uploaded, by path.
        answers: Of the warehouse, by statement: columns and rows.
        ends_as: How a run of a job ends.
        faults: What is to go wrong, by method and path, the next first: a status, "lost before" or
            "lost after" it was done.
        asked: All requests that have come, method and path.
        wrong: What was wrong with them.
        echoes: Whether an error's text has the token in it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jobs: dict[int, dict[str, Any]] = {}
        self.permissions: dict[int, list[tuple[str, str, str]]] = {}
        self.files: dict[str, bytes] = {}
        self.answers: dict[str, tuple[list[str], list[list[str | None]]]] = {}
        self.ends_as = "SUCCESS"
        self.faults: dict[tuple[str, str], list[int | str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.wrong: list[str] = []
        self.echoes = False
        self.redirects_to: str | None = None
        self.tokens_seen = 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def written(self) -> Counter[tuple[str, str]]:
        """The requests that may have changed something."""
        return Counter(one for one in self.asked if one[0] != "GET")

    def add_job(self, settings: dict[str, Any]) -> int:
        job_id = 1000 + len(self.jobs)
        self.jobs[job_id] = settings
        self.permissions[job_id] = [("user_name", OWNER, "IS_OWNER")]
        return job_id

    def described(self, job_id: int) -> dict[str, Any]:
        """A job as the Jobs API tells it: with defaults, and tasks in an order of its own."""
        settings = json.loads(json.dumps(self.jobs[job_id]))
        for task in settings.get("tasks", []):
            task.setdefault("run_if", "ALL_SUCCESS")
            task.setdefault("timeout_seconds", 0)
            task.setdefault("email_notifications", {})
        if "tasks" in settings:
            settings["tasks"].reverse()
        settings = {
            "format": "MULTI_TASK",
            "email_notifications": {},
            "timeout_seconds": 0,
        } | settings
        run_as = settings.pop("run_as", {}).get("service_principal_name", OWNER)
        return {
            "job_id": job_id,
            "creator_user_name": OWNER,
            "run_as_user_name": run_as,
            "settings": settings,
            "created_time": 1700000000000,
        }


class _Handler(BaseHTTPRequestHandler):
    server: WorkspaceServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path).rstrip("/")
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.tokens_seen += TOKEN in (self.headers.get("Authorization") or "")
        if path == "/.well-known/databricks-config":
            self._answer(200, {})
            return
        if self.server.redirects_to:
            self.send_response(302)
            self.send_header("Location", self.server.redirects_to + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.server.asked.append((method, path))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.server.wrong.append(f"{method} {path}: without the token")
        fault = next(iter(self.server.faults.get((method, path), [])), None)
        if fault is not None:
            self.server.faults[method, path].pop(0)
        if fault == "lost before":
            self.close_connection = True
            return
        if isinstance(fault, int):
            echo = f" {TOKEN}" if self.server.echoes else ""
            codes = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED"}
            body = {"error_code": codes.get(fault, "INTERNAL_ERROR"), "message": f"no{echo}"}
            self._answer(fault, body, {"Retry-After": "7"} if fault in (429, 503) else {})
            return
        query = dict(parse_qsl(url.query))
        if path.startswith("/api/2.0/fs/files/"):
            self.server.files[path.removeprefix("/api/2.0/fs/files")] = content
            self._answer(204, None)
            return
        body = json.loads(content) if content else {}
        answer = self._routed(method, path, query, body)
        if fault == "lost after":
            self.close_connection = True
            return
        if answer is None:
            self._answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": f"no {path}"})
        else:
            self._answer(200, answer)

    def _routed(  # noqa: PLR0911 - a route each
        self, method: str, path: str, query: dict[str, str], body: Any
    ) -> dict[str, Any] | None:
        server = self.server
        if (method, path) == ("POST", "/api/2.2/jobs/create"):
            self._check(path, misfits_of_call(body, jobs.JobsAPI.create))
            return {"job_id": server.add_job(body)}
        if (method, path) == ("POST", "/api/2.2/jobs/reset"):
            self._check(path, misfits_of_call(body, jobs.JobsAPI.reset))
            server.jobs[body["job_id"]] = body["new_settings"]
            return {}
        if (method, path) == ("GET", "/api/2.2/jobs/list"):
            ids = [
                job_id
                for job_id, settings in server.jobs.items()
                if settings["name"].lower() == query["name"].lower()
            ]
            at = int(query.get("page_token", 0))
            page: dict[str, Any] = {
                "jobs": [server.described(job_id) for job_id in ids[at : at + 1]]
            }
            return page | ({"next_page_token": str(at + 1)} if at + 1 < len(ids) else {})
        if (method, path) == ("GET", "/api/2.2/jobs/get"):
            return server.described(int(query["job_id"]))
        if (method, path) == ("POST", "/api/2.2/jobs/run-now"):
            self._check(path, misfits_of_call(body, jobs.JobsAPI.run_now))
            return {"run_id": 5}
        if (method, path) == ("GET", "/api/2.2/jobs/runs/get"):
            state = {"life_cycle_state": "TERMINATED", "result_state": server.ends_as}
            page_url = f"{server.url}/run/5"
            return {"run_id": 5, "state": state, "run_page_url": page_url}
        if (method, path) == ("POST", "/api/2.0/sql/statements"):
            self._check(path, misfits_of_call(body, sql.StatementExecutionAPI.execute_statement))
            columns, rows = server.answers[body["statement"]]
            named = [{"name": name, "position": at} for at, name in enumerate(columns)]
            return {
                "statement_id": "s-1",
                "status": {"state": "SUCCEEDED"},
                "manifest": {"schema": {"columns": named}, "truncated": False},
                "result": {"data_array": rows},
            }
        if found := re.fullmatch(r"/api/2\.0/permissions/jobs/(\d+)", path):
            return self._permissions(method, path, int(found[1]), body)
        return None

    def _permissions(self, method: str, path: str, job_id: int, body: Any) -> dict[str, Any]:
        if method == "PUT":
            self._check(path, misfits_of_call(body | {"job_id": "1"}, jobs.JobsAPI.set_permissions))
            self.server.permissions[job_id] = entries = []
            for entry in body["access_control_list"]:
                level = entry.pop("permission_level")
                [(kind, name)] = entry.items()
                entries.append((kind, name, level))
            if [level for *_, level in entries].count("IS_OWNER") != 1:
                self.server.wrong.append(f"{path}: a job has exactly one owner")
        told = [
            {kind: name, "all_permissions": [{"permission_level": level, "inherited": False}]}
            for kind, name, level in self.server.permissions[job_id]
        ]
        inherited = [{"permission_level": "CAN_MANAGE", "inherited": True}]
        told.append({"group_name": "admins", "all_permissions": inherited})
        return {"object_id": f"/jobs/{job_id}", "object_type": "job", "access_control_list": told}

    def _check(self, path: str, faults: list[str]) -> None:
        self.server.wrong += [f"{path}: {fault}" for fault in faults]

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceServer]:
    """A workspace, its token in the environment, to which no wrong request has come."""
    for name in [name for name in os.environ if name.startswith("DATABRICKS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    monkeypatch.setenv("LAKEHOUSE_COMMIT", COMMIT)
    monkeypatch.setattr(socket.socket, "connect", _connect_to_this_machine)
    server = WorkspaceServer()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
    assert server.wrong == []


def _connect_to_this_machine(connecting: socket.socket, address: tuple[str, int]) -> None:
    assert address[0] == "127.0.0.1", f"a test asked for {address[0]}"
    _socket.socket.connect(connecting, address)


def without_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Takes the time out of what the SDK sleeps between two attempts, and tells how long it was."""
    slept: list[float] = []
    monkeypatch.setattr(RealClock, "sleep", lambda _self, seconds: slept.append(seconds))
    monkeypatch.setattr(RealClock, "time", lambda _self: sum(slept))
    return slept
