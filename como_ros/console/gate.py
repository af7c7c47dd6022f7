"""The console's only door: who may come in is decided here, before a byte reaches the page or the 3-D view.

On the loopback address everybody on this machine may; from elsewhere a token is needed, once, after which the
browser has a cookie. Pages of other sites are kept out in both cases (their Origin, or a name of theirs that
was pointed at this machine). The connection is not encrypted: beyond a network you trust, use an SSH tunnel.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from como_ros.errors import ComoError

SECRET_HEADER = "X-Como-Gate"
"""Tells the 3-D view that a connection came through here."""
VIEW_HEADER, VIEW = "X-Como-View", "view"
"""Name of a 3-D view, which only the page around it knows; from the address into a header."""
TOKEN_VARIABLE = "COMO_CONSOLE_TOKEN"
COOKIE, TOKEN = "como_console", "token"
MAX_HEAD, HEAD_S, REFUSED_S = 16384, 10.0, 0.2
SHORTEST_TOKEN = 12
SCENE = "/scene"
HOP = {"connection", "cookie", "keep-alive", SECRET_HEADER.lower(), VIEW_HEADER.lower()}


@dataclass(frozen=True)
class Request:
    """The head of an HTTP request."""

    path: str
    query: str
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """Raises ValueError for anything but a GET without a body."""
        first, *lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
        if not all(line.isprintable() for line in (first, *lines)):
            raise ValueError("control characters in a request")
        method, target, version = first.split(" ")
        if method != "GET" or version != "HTTP/1.1" or not target.startswith("/"):
            raise ValueError(f"{method[:10]} of {version[:10]} is not served here")
        rows = tuple((name.strip(), value.strip()) for name, _, value in (x.partition(":") for x in lines))
        names = [name.lower() for name, _ in rows]
        if {"content-length", "transfer-encoding"} & set(names) or names.count("host") != 1:
            raise ValueError("a request with a body, or without one host")
        url = urlsplit(target)
        return cls(url.path, url.query, rows)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def upgrades(self) -> bool:
        return self.header("upgrade").lower() == "websocket"

    @property
    def token(self) -> str:
        """As given in the address, or by the cookie that a token in the address earned."""
        pairs = (pair.partition("=") for pair in self.header("cookie").split(";"))
        cookies = {name.strip(): value.strip() for name, _, value in pairs}
        return parse_qs(self.query).get(TOKEN, [""])[0] or cookies.get(COOKIE, "")

    @property
    def view(self) -> str:
        """A plain name or nothing: it goes on as a header."""
        given = parse_qs(self.query).get(VIEW, [""])[0]
        return given if re.fullmatch(r"\w{16,64}", given, re.ASCII) else ""

    @property
    def host_name(self) -> str:
        return urlsplit("//" + self.header("host")).hostname or ""


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_token(host: str, token: str) -> None:
    """Beyond this machine nobody comes in without one."""
    if token and not re.fullmatch(r"[\w.~-]+", token, re.ASCII):
        raise ComoError("the console's token may hold letters, digits and - . _ ~ only; make another")
    if not is_loopback(host) and len(token) < SHORTEST_TOKEN:
        raise ComoError(
            f"a console on {host} needs a token of {SHORTEST_TOKEN} characters or more; "
            "export COMO_CONSOLE_TOKEN=$(openssl rand -hex 16), then open http://ADDRESS:PORT/?token=$COMO_CONSOLE_TOKEN"
        )


def refusal(request: Request, token: str) -> str:
    """Why this request gets nothing; empty where it is let in. Without a token only loopback names count."""
    origin = request.header("origin")
    if origin and urlsplit(origin).netloc != request.header("host"):
        return f"a page of {origin[:80]} asks"
    if not token:
        return "" if is_loopback(request.host_name) else f"{request.host_name[:80]!r} is no name of loopback"
    if not request.token:
        return "no token"
    return "" if hmac.compare_digest(request.token.encode(), token.encode()) else "wrong token"


class Gate:
    """Passes admitted connections on: /scene to the 3-D view's port, everything else to the page's socket."""

    def __init__(
        self, token: str, secret: str, scene: tuple[str, int], page: str, log: Callable[[str], None]
    ) -> None:
        self._token, self._secret, self._log = token, secret, log
        self._scene, self._page = scene, page
        self.refused = 0

    async def listen(self, host: str, port: int) -> asyncio.Server:
        check_token(host, self._token)
        try:
            return await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)
        except OSError as error:
            raise ComoError(
                f"the console cannot listen on {host}:{port} ({error.strerror}); give another port"
            ) from error

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_S)
            request = Request.parse(head)
            if why := refusal(request, self._token):
                await self._refuse(writer, why)
            elif self._token and TOKEN in parse_qs(request.query) and not request.upgrades:
                await _answer(writer, "303 See Other", *self._welcome(request))
            else:
                await self._pass_on(request, reader, writer)
        except ValueError as error:
            await self._refuse(writer, str(error))
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            pass  # whoever it was has left, or never asked
        finally:
            writer.close()

    async def _refuse(self, writer: asyncio.StreamWriter, why: str) -> None:
        self.refused += 1
        address = (writer.get_extra_info("peername") or ("somebody",))[0]
        self._log(f"console: refused {address}: {why}")
        await asyncio.sleep(REFUSED_S)
        await _answer(writer, "403 Forbidden")

    def _welcome(self, request: Request) -> tuple[str, ...]:
        """The token leaves the address line and becomes a cookie that scripts cannot read."""
        cookie = f"{COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=86400"
        return f"Location: {request.path}", f"Set-Cookie: {cookie}"

    async def _pass_on(
        self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        to_scene = request.path == SCENE or request.path.startswith(SCENE + "/")
        if to_scene:
            inner_reader, inner_writer = await asyncio.open_connection(*self._scene)
        else:
            inner_reader, inner_writer = await asyncio.open_unix_connection(self._page)
        try:
            inner_writer.write(self._rewritten(request, to_scene))
            ways = [_pump(reader, inner_writer), _pump(inner_reader, writer)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            inner_writer.close()

    def _rewritten(self, request: Request, to_scene: bool) -> bytes:
        """One request a connection, so that none rides along unseen; credentials stay outside."""
        path = request.path.removeprefix(SCENE) or "/" if to_scene else request.path
        connection = "Upgrade" if request.upgrades else "close"
        kept = [f"{name}: {value}" for name, value in request.headers if name.lower() not in HOP]
        ours = [f"Connection: {connection}", f"{SECRET_HEADER}: {self._secret}"]
        ours += [f"{VIEW_HEADER}: {request.view}"] if request.view else []
        lines = [f"GET {path} HTTP/1.1", *kept, *ours]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _answer(writer: asyncio.StreamWriter, status: str, *headers: str) -> None:
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "Connection: close"]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
