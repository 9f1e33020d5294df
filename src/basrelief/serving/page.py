"""The page of a served network: drop an image on it, see mask, cut-out and depth, take the files home.

Gradio draws the page. Files are taken in by ``page_files``, and its own reading of pictures is passed by
(``preprocess=False``): it would decode whatever it is given before our limits are looked at. The uploaded file's path
goes to the same bounded work queue as the requests of the HTTP API.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basrelief.errors import MissingExtraError
from basrelief.serving import page_words as words
from basrelief.serving.page_actions import Actions
from basrelief.serving.page_examples import write_examples
from basrelief.serving.page_files import MOST_UPLOADS, Shelf, add_files
from basrelief.serving.page_layout import lay_out
from basrelief.serving.page_routes import PageRoutes

if TYPE_CHECKING:
    from fastapi import FastAPI

    from basrelief.serving.service import Service

VISITORS = 200  # whose pages are remembered; who comes back later drops the image once more
MOST_UNREAD = 300  # messages that wait for visitors to fetch them, which those who never do leave behind
SWEEP = 10  # seconds between two looks for what is old or too much
FETCH = """(file) => {
  if (!file) return;
  const link = document.createElement("a");
  link.href = file.url;
  link.download = file.orig_name;
  document.body.append(link);
  link.click();
  link.remove();
}"""


def add_page(app: FastAPI, service: Service, home: Path | None = None) -> FastAPI:
    """Put the page at / of the server, below the routes that it has already.

    Parameters
    ----------
    app, service
        The server, and what it serves.
    home
        The directory with the run's plan and data, for the examples; None where there is none.

    Raises
    ------
    MissingExtraError
        Without gradio.
    """
    gradio = _import_gradio()
    # Gradio's own folder is shared by all its programs and, on many machines, by all users. This one goes with the
    # server.
    kept = tempfile.TemporaryDirectory(prefix="basrelief-page-", ignore_cleanup_errors=True)
    folder = Path(kept.name).resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    shelf = Shelf(folder, MOST_UPLOADS * service.limits.max_bytes)
    page = make_page(service, shelf, write_examples(service.predictor, home, folder))
    add_files(app, service, shelf)
    app.add_middleware(PageRoutes, shelf=shelf)
    mounted: FastAPI = gradio.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        max_file_size=service.limits.max_bytes,
        show_error=False,  # what goes wrong is said on the page; what nobody thought of is for the log alone
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=_theme(gradio),
        css_paths=[Path(__file__).with_name("page.css")],
    )
    inner = mounted.router.lifespan_context

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[Any]:
        async with inner(app) as state:
            sweeping = asyncio.create_task(_sweep(shelf, page))
            yield state
            sweeping.cancel()
        kept.cleanup()

    mounted.router.lifespan_context = life
    return mounted


async def _sweep(shelf: Shelf, page: Any) -> None:
    while True:
        await asyncio.sleep(SWEEP)
        await asyncio.to_thread(shelf.make_room)
        forget_unread(page, MOST_UNREAD)
        for names in page.temp_file_sets:  # Gradio's lists of files, which nothing else shortens
            names.clear()


def forget_unread(page: Any, most: int) -> None:
    """Forget the messages of those who let most of them lie, until ``most`` wait: Gradio keeps them for ever."""
    waiting = page._queue.pending_messages_per_session
    while sum(messages.qsize() for messages in waiting.values()) > most:
        waiting.pop(max(waiting, key=lambda session: waiting[session].qsize()))


def make_page(service: Service, shelf: Shelf, examples: Sequence[tuple[Path, ...]] = ()) -> Any:
    """Return the page as ``gradio.Blocks``.

    Parameters
    ----------
    service
        The network, its queue and limits.
    shelf
        Where files lie: ``GRADIO_TEMP_DIR``, as do the examples.
    examples
        (image,) or (image, background) of each.
    """
    gradio = _import_gradio()
    # Callable from the page alone, and all at once: the server's own queue is what bounds them.
    private: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None}
    at_once = private | {"trigger_mode": "always_last", "show_progress": "hidden"}
    with gradio.Blocks(title=words.page_title(service.predictor.run), analytics_enabled=False) as page:
        parts = lay_out(gradio, service, examples)
        actions = Actions(gradio, service, parts, shelf)
        running: dict[str, Any] = private | {
            "fn": actions.predict,
            "inputs": [*parts.uploads, parts.visit, parts.choice],
            "outputs": parts.results,
            "preprocess": False,
            "show_progress_on": parts.pictures,
            "trigger_mode": "always_last",
        }
        gradio.on([event for upload in parts.uploads for event in (upload.input, upload.clear)], **running)
        if parts.examples is not None:

            def example(number: int) -> Any:
                files = [str(file) for file in examples[number]]
                return files if len(files) > 1 else files[0]

            chosen = parts.examples.click(example, parts.examples, parts.uploads, show_progress="hidden", **private)
            chosen.then(**running)
        if parts.level is not None:
            parts.level.input(actions.move, [parts.level, parts.choice, parts.visit], parts.results, **at_once)
        if hasattr(parts.choice, "input"):
            inputs, outputs = [parts.choice, parts.visit], [*parts.results, parts.level]
            parts.choice.input(actions.choose, inputs, outputs, **at_once)
        packing = parts.take.click(
            actions.pack, parts.visit, [parts.packed, parts.said], show_progress_on=parts.take, **private
        )
        packing.then(None, parts.packed, None, js=FETCH)
    page.queue(api_open=False, max_size=service.limits.queue)
    page.state_session_capacity = VISITORS
    return page


def _theme(gradio: Any) -> Any:
    system = [gradio.themes.Font(name) for name in ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")]
    mono = [gradio.themes.Font(name) for name in ("ui-monospace", "Consolas", "monospace")]
    return gradio.themes.Default(primary_hue="blue", neutral_hue="slate", font=system, font_mono=mono)


def _import_gradio() -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError:
        raise MissingExtraError("gradio", "serve", "The page of basrelief serve") from None
    return gradio
