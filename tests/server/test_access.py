"""Who may do what: tokens, and pages of other sites."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from noria.client import AsyncClient, Client
from noria.errors import ServerError, UsageError
from noria.server.access import Access, Token, is_loopback, read_tokens
from noria.server.problems import Problem
from noria.server.stores import Key
from tests.server.nets import event
from tests.server.processes import ServerProcess, serving

ALL, PLANT, READER = ("all-" + "a" * 40, "plant-" + "b" * 40, "reader-" + "c" * 40)

TOKENS = f"""
[all]
secret = "{ALL}"

[plant-7]
secret = "{PLANT}"
streams = ["gru/plant-7-*"]
verbs = ["send", "read"]
max_streams = 2

[reader]
secret = "{READER}"
verbs = ["read", "metrics"]
"""


def token_file(folder: Path, text: str = TOKENS, mode: int = 0o600) -> Path:
    path = folder / "tokens.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture(scope="module")
def server(model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("access")
    store = f"sqlite:{folder / 'streams.db'}"
    arguments = (model_path, "--store", store, "--token-file", token_file(folder))
    with serving(*arguments) as process:
        yield process


def status(server: ServerProcess, method: str, path: str, secret: str | None, **how: object) -> int:
    headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
    with httpx.Client(base_url=server.url, trust_env=False, headers=headers) as http:
        return http.request(method, path, **how).status_code  # type: ignore[arg-type]


def test_without_a_token_there_is_nothing_but_health(server: ServerProcess) -> None:
    for secret in (None, "x", ALL[:-1], ALL + "x"):
        for path in ("/v1/models", "/v1/models/gru/streams/a", "/metrics"):
            assert status(server, "GET", path, secret) == 401
        events = "/v1/models/gru/streams/a/events"
        assert status(server, "POST", events, secret, json={"seq": 1}) == 401
        assert status(server, "DELETE", "/v1/models/gru/streams/a", secret) == 401
    for path in ("/healthz", "/readyz", "/openapi.json", "/"):
        assert status(server, "GET", path, None) == 200


def test_a_token_has_its_streams_verbs_and_number(server: ServerProcess) -> None:
    with Client(server.url, token=PLANT) as client:
        stream = client.stream("gru", "plant-7-a")
        stream.send(event("a", 1))
        with pytest.raises(ServerError, match="no verb 'delete'") as raised:
            stream.delete()
        assert (raised.value.kind, raised.value.status) == ("forbidden", 403)
        with pytest.raises(ServerError, match="no verb 'write'"):
            stream.restore(stream.state())
        with pytest.raises(ServerError, match="has no stream gru/plant-8-a"):
            client.stream("gru", "plant-8-a").send(event("a", 1))
        client.stream("gru", "plant-7-b").send(event("a", 1))
        with pytest.raises(ServerError, match="may begin 2 streams") as raised:
            client.stream("gru", "plant-7-c").send(event("a", 1))
        assert (raised.value.kind, raised.value.status) == ("too-many-streams", 429)
    with Client(server.url, token=ALL) as client:
        client.stream("gru", "plant-7-b").delete()
        client.stream("gru", "plant-7-a").send(event("a", 2))
    with Client(server.url, token=PLANT) as client:
        client.stream("gru", "plant-7-c").send(event("a", 1))
    assert status(server, "GET", "/metrics", PLANT) == 403
    assert status(server, "GET", "/metrics", READER) == 200
    with Client(server.url, token=READER) as client:
        assert client.stream("gru", "plant-7-a").seq == 2
        with pytest.raises(ServerError, match="no verb 'send'"):
            client.stream("gru", "plant-7-a").send(event("a", 3))


def test_sockets_ask_for_tokens_too(server: ServerProcess) -> None:
    async def run() -> None:
        where = server.url.replace("http", "ws") + "/v1/models/gru/events"
        for secret, code in ((None, 401), ("x" * 40, 401), (READER, 403)):
            headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
            with pytest.raises(InvalidStatus) as raised:
                await connect(where, proxy=None, additional_headers=headers)
            assert raised.value.response.status_code == code
        async with connect(where, proxy=None, subprotocols=["noria", f"bearer.{ALL}"]) as socket:  # type: ignore[list-item]
            assert socket.subprotocol == "noria"
        async with AsyncClient(server.url, "gru", token=PLANT) as client:
            stream = await client.stream("plant-7-a")
            await stream.send(event("a", 1))
            with pytest.raises(ServerError, match="has no stream"):
                await (await client.stream("other")).send(event("a", 1))
        async with AsyncClient(server.url, "gru", token=READER) as client:
            stream = await client.stream("plant-7-a")
            with pytest.raises(ServerError, match="no verb 'send'"):
                await stream.send(event("a", 1))

    asyncio.run(run())


def test_no_secret_is_in_the_log_or_the_store(server: ServerProcess) -> None:
    status(server, "GET", "/v1/models", ALL)
    assert ALL not in str(server.log)
    assert server.errors == []


@pytest.mark.parametrize(
    ("host", "origin", "code"),
    [
        (None, None, 200),
        (None, "same", 200),
        (None, "http://evil.example", 403),
        (None, "null", 403),
        ("evil.example", None, 403),
        ("evil.example", "http://evil.example", 403),
        ("localhost", None, 200),
        ("[::1]:8000", None, 200),
    ],
)
def test_pages_of_other_sites_reach_nothing(
    model_path: Path, open_server: ServerProcess, host: str | None, origin: str | None, code: int
) -> None:
    own = open_server.url.removeprefix("http://")
    headers = {"host": host or own}
    if origin is not None:
        headers["origin"] = f"http://{own}" if origin == "same" else origin
    assert (
        httpx.get(f"{open_server.url}/v1/models", headers=headers, trust_env=False).status_code
        == code
    )

    async def run() -> int:
        where = open_server.url.replace("http", "ws") + "/v1/models/gru/events"
        try:
            async with connect(where, proxy=None, origin=headers.get("origin")):  # type: ignore[arg-type]
                return 200
        except InvalidStatus as error:
            return error.response.status_code

    if host is None:
        assert asyncio.run(run()) == code


@pytest.fixture(scope="module")
def open_server(
    model_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    store = tmp_path_factory.mktemp("open") / "streams.db"
    with serving(model_path, "--store", f"sqlite:{store}") as process:
        yield process


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_server_that_others_can_reach_needs_tokens(model_path: Path, host: str) -> None:
    command = [sys.executable, "-m", "noria", "serve", model_path, "--host", host, "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1
    assert f"--host {host}: a server that others can reach needs --token-file" in ended.stderr


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "", "localhost.evil.example")))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no token"),
        ("[a", "is not TOML"),
        ("a = 1", r"\[a\] must be a table"),
        ("[a]\nsecret = 'short'", "32 ASCII characters or more"),
        (f"[a]\nsecret = '{'ü' * 40}'", "32 ASCII characters or more"),
        (f"[a]\nsecret = '{ALL}'\nverb = ['send']", "must be a table with"),
        (f"[a]\nsecret = '{ALL}'\nverbs = ['fly']", "verbs must be a list of send"),
        (f"[a]\nsecret = '{ALL}'\nstreams = 'x'", "streams must be a list of patterns"),
        (f"[a]\nsecret = '{ALL}'\nmax_streams = -1", "max_streams must be a whole number"),
        (f"[a]\nsecret = '{ALL}'\n[b]\nsecret = '{ALL}'", "two tokens have the same secret"),
    ],
)
def test_a_bad_token_file_is_told_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = token_file(tmp_path, text)
    with pytest.raises(UsageError, match=message) as raised:
        read_tokens(path)
    assert str(path) in str(raised.value)


def test_a_token_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    for mode in (0o644, 0o640, 0o604):
        with pytest.raises(UsageError, match="others can read it; say chmod 600"):
            read_tokens(token_file(tmp_path, mode=mode))
    with pytest.raises(UsageError, match="No such file"):
        read_tokens(tmp_path / "nothing")


def test_every_secret_is_compared_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was sent, as many bytes are compared, and with every token."""
    import hmac

    compared = []
    compare = hmac.compare_digest

    def watched(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    import hashlib

    tokens = [Token(str(n), hashlib.sha256(str(n).encode()).digest()) for n in range(3)]
    access = Access(tokens)
    assert access.identify("0").name == "0"
    for secret in ("3", "", None, "0" * 10**6, "\ud800"):
        with pytest.raises(Problem):
            access.identify(secret)
    assert compared == [(32, 32)] * 18


def test_patterns() -> None:
    token = Token("t", b"", ("power/plant-7-*", "gas/*"), ("send",))
    for model, stream in (("power", "plant-7-a"), ("gas", "x"), ("gas", "plant-8")):
        token.check("send", Key(model, stream))
    for model, stream in (("power", "plant-8-a"), ("power", "x"), ("POWER", "plant-7-a")):
        with pytest.raises(Problem, match="has no stream"):
            token.check("send", Key(model, stream))
