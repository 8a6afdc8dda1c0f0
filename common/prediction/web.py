"""The page of `common.app` and its one service, for this computer's own browser alone.

A page of another site must not be able to ask: requests under another name (DNS rebinding) or from
another origin (CSRF) are refused, as is what is too large, before anything of it is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.prediction.predictor import Predictor
from common.prediction.uploads import MAX_BYTES, MAX_FILES, Uploads
from common.reporting.html_report import render
from common.reporting.model_card import NOT_FOR, SYNTHETIC
from common.training.runs import name_of_data

# Boundaries and headers of a form with `MAX_FILES` files.
_ROOM = MAX_FILES * 512
_TOO_LARGE = f"An upload may have {MAX_BYTES >> 20} MiB"
_HEADERS = {
    # What the page itself cannot say; the rest of its policy is in it.
    "Content-Security-Policy": "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def web_app(
    predictors: Sequence[Predictor], uploads: Uploads, port: int, max_bytes: int = MAX_BYTES
) -> ASGIApp:
    """The page, and what it asks.

    Args:
        predictors: Of the runs on the page.
        uploads: Answers for them.
        port: Of this computer, under which alone it is served.
        max_bytes: Of an upload.
    """
    page = render("app.html.j2", "app.js", max_bytes=max_bytes, **_content(predictors))

    async def show(_: Request) -> Response:
        return HTMLResponse(page)

    async def predict(request: Request) -> Response:
        number = int(request.path_params["number"])
        if number >= len(predictors):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        async with request.form(max_files=MAX_FILES, max_fields=0) as form:
            parts = [part for part in form.getlist("file") if isinstance(part, UploadFile)]
            if not parts:
                raise HTTPException(HTTPStatus.BAD_REQUEST, "no file was sent")
            files = [(part.filename or "", part.file) for part in parts]
            answer = await run_in_threadpool(uploads.answer, number, files)
        return JSONResponse(answer)

    routes = [
        Route("/", show),
        Route("/predict/{number:int}", predict, methods=["POST"]),
    ]
    hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
    return _Guard(Starlette(routes=routes), hosts, max_bytes + _ROOM)


def _content(predictors: Sequence[Predictor]) -> dict[str, object]:
    """What the page says of its runs."""
    runs = [
        {
            "name": predictor.run.folder.resolve().name,
            "question": predictor.about.question,
            "data": name_of_data(predictor.run.config),
            "rule": predictor.rule,
            "kinds": predictor.kinds,
            "is_synthetic": predictor.run.config["synthetic"],
            "split_warning": predictor.run.config.get("split_warning", ""),
            "has_masks": predictor.has_masks,
        }
        for predictor in predictors
    ]
    return {"runs": runs, "not_for": NOT_FOR, "of_synthetic": SYNTHETIC}


class _Guard:
    """Refuses requests of others and what is too large; adds headers to every response."""

    def __init__(self, app: ASGIApp, hosts: set[str], max_bytes: int) -> None:
        self._app, self._hosts, self._max_bytes = app, hosts, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _TOO_LARGE)
            return message

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        await (refusal or self._app)(scope, receive_counted, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> Response | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if host not in self._hosts:
            words = "This page is served to this computer alone, under the address that was printed"
            return PlainTextResponse(words, HTTPStatus.MISDIRECTED_REQUEST)
        # Every browser says whence a POST comes.
        if origin != f"http://{host}" and (origin is not None or method not in ("GET", "HEAD")):
            return PlainTextResponse("Only the page itself may ask", HTTPStatus.FORBIDDEN)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._max_bytes:
            return PlainTextResponse(_TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return None
