"""The OpenAPI document, and what schemathesis makes of it against the real server."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import checks

from noria.server.access import Access
from noria.server.app import make_app
from noria.server.sockets import Sockets
from tests.server.engines import run, running
from tests.server.processes import ServerProcess, serving


@pytest.fixture(scope="module")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    store = tmp_path_factory.mktemp("openapi") / "streams.db"
    with serving(model_path, "--store", f"sqlite:{store}") as process:
        yield process


@pytest.fixture(scope="module")
def document(server: ServerProcess) -> Any:
    refusals = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "429"]
    rejection = {"negative_data_rejection": {"expected-statuses": refusals}}
    config = schemathesis.Config.from_dict({"checks": rejection})
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json", config=config)


_CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_answers_are_as_the_document_says(document: Any, mode: schemathesis.GenerationMode) -> None:
    tried = 0
    for found in document.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
        def check(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(checks=_CHECKS)

        with contextlib.suppress(Unsatisfiable):  # nothing of it can be wrong
            check()
    assert tried > 100


def test_the_server_outlives_it(server: ServerProcess) -> None:
    assert server.process.poll() is None
    assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200
    assert [line for line in server.log if line["level"] == "error"] == []


def test_every_route_is_in_the_document(
    server: ServerProcess, model_path: Path, tmp_path: Path
) -> None:
    document = httpx.get(f"{server.url}/openapi.json", trust_env=False).json()
    written = {
        (path, method.upper())
        for path, item in document["paths"].items()
        for method in item.keys() & {"get", "put", "post", "delete"}
    }

    async def body() -> None:
        async with running(model_path, f"sqlite:{tmp_path / 'streams.db'}") as requester:
            engine = requester.engine
            app: Any = make_app(engine, Access(None), Sockets(engine, Access(None)))
            there = {
                (route.path, method)
                for route in app._app.routes
                for method in (getattr(route, "methods", None) or ())
            }
        assert there - written == {("/", "GET"), *((path, "HEAD") for path, _ in there)} & there
        assert written <= there

    run(body)
