"""The page as a web application: the response at each path."""

from __future__ import annotations

import functools
import shlex
import time
from collections.abc import Sequence

import flask
import numpy as np
import tensorflow as tf
from werkzeug.exceptions import HTTPException, NotFound

from trainer.errors import TrainerError
from trainer.evaluation.card import Card
from trainer.inference import generate
from trainer.reporting import card_page, charts
from trainer.runs.evaluate import PAGE_NAME
from trainer.tools.explorer.explorer import COUNT, REACH, Explorer
from trainer.tools.explorer.parameters import Parameters

_TEMPLATES = card_page.environment("trainer.tools.explorer")
_OWN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The run may come from anyone: its page may show images, and nothing else.
_FROM_THE_RUN = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def application(explorer: Explorer, flags: Sequence[str]) -> flask.Flask:
    """The application. A wrong request gets a status 4xx and one line of text.

    Args:
      explorer: Draws the images.
      flags: Flags of the trainer's commands for this run, which the page shows.
    """
    # Serve no other files, and accept no other host name: a page elsewhere could let its own name
    # resolve to 127.0.0.1, and read the responses (DNS rebinding).
    app = flask.Flask(__name__, static_folder=None)
    app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]
    app.register_error_handler(HTTPException, lambda error: _line(error.code, error.description))
    app.register_error_handler(TrainerError, lambda error: _line(400, str(error)))
    app.before_request(_start)
    app.after_request(_finish)
    _add_images(app, explorer)
    _add_pages(app, explorer, flags)
    return app


def _add_images(app: flask.Flask, explorer: Explorer) -> None:
    """Responses in JSON, with images as data: URIs."""
    read = Parameters(explorer.run.trainer.inference.num_classes, len(explorer.directions))

    @app.get("/samples")
    def samples() -> dict:
        images, coordinates = explorer.samples(read.samples(flask.request.args))
        return {"images": _pictures(images), "coordinates": coordinates.round(4).tolist()}

    @app.get("/image")
    def image() -> dict:
        return {"image": charts.picture(explorer.image(read.point(flask.request.args)))}

    @app.get("/extremes")
    def extremes() -> dict:
        return {"images": _pictures(explorer.extremes(read.point(flask.request.args)))}

    @app.get("/interpolation")
    def interpolation() -> dict:
        endpoints = read.endpoints(flask.request.args)
        return {"images": _pictures(explorer.interpolation(*endpoints))}


def _add_pages(app: flask.Flask, explorer: Explorer, flags: Sequence[str]) -> None:
    run = explorer.run
    trainer = run.trainer

    @functools.lru_cache(1)
    def animation(grids: tuple[str, ...]) -> bytes:
        return generate.training_animation(grids, ".gif")

    @app.get("/")
    def page() -> str:
        card, problem = _card(run.model_dir)
        return _TEMPLATES.get_template("explore.html").render(
            name=run.spec.name,
            step=run.step,
            model_dir=run.model_dir,
            weights=trainer.sampled_weights,
            num_classes=trainer.inference.num_classes,
            size=run.spec.image_shape[:2],
            count=COUNT,
            reach=REACH,
            directions=len(explorer.directions),
            seed=trainer.config.seed,
            generate=_command("generate", flags),
            evaluate=_command("evaluate", flags),
            card=card,
            rows=card and card_page.rows(card),
            problem=problem,
            has_page=tf.io.gfile.exists(f"{run.model_dir}/{PAGE_NAME}"),
            grids=len(generate.sample_grids(run)),
        )

    @app.get("/explore.js")
    def script() -> flask.Response:
        return flask.Response(
            card_page.source(_TEMPLATES, "explore.js"), mimetype="text/javascript"
        )

    @app.get("/explore.css")
    def style() -> flask.Response:
        sheets = card_page.style() + card_page.source(_TEMPLATES, "explore.css")
        return flask.Response(sheets, mimetype="text/css")

    @app.get(f"/{PAGE_NAME}")
    def evaluation() -> flask.Response:
        path = f"{run.model_dir}/{PAGE_NAME}"
        if not tf.io.gfile.exists(path):
            raise NotFound(f"not evaluated yet: {_command('evaluate', flags)}")
        with tf.io.gfile.GFile(path) as file:
            response = flask.Response(file.read(), mimetype="text/html")
        response.headers["Content-Security-Policy"] = _FROM_THE_RUN
        return response

    @app.get("/training.gif")
    def training() -> flask.Response:
        grids = tuple(generate.sample_grids(run))
        if not grids:
            raise NotFound("this run has no sample grids")
        return flask.Response(animation(grids), mimetype="image/gif")


def _pictures(images: np.ndarray) -> list[str]:
    return [charts.picture(image) for image in images]


def _command(mode: str, flags: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "trainer.main", f"--mode={mode}", *flags])


def _card(model_dir: str) -> tuple[Card | None, str]:
    """The card, or None, and why it cannot be read, or ""."""
    try:
        return Card.load(model_dir), ""
    except TrainerError as error:
        return None, str(error)


def _line(code: int, reason: str | None) -> flask.Response:
    return flask.Response(f"{reason}\n", code, mimetype="text/plain")


def _start() -> None:
    flask.g.started = time.perf_counter()


def _finish(response: flask.Response) -> flask.Response:
    if "started" in flask.g:  # it is not if the Host was refused
        took = 1000 * (time.perf_counter() - flask.g.started)
        response.headers["Server-Timing"] = f"total;dur={took:.1f}"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers.setdefault("Content-Security-Policy", _OWN)
    return response
