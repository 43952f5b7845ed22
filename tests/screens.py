"""Pictures of every page into docs/screens: filled and empty, in light, dark and on a phone. `make screens` runs it.

Takes pages from `webapp.pages`, so that none is forgotten; `ADDRESSES` says which object a page shows when filled.
"""

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, sync_playwright
from starlette.testclient import TestClient

from models.domain.access import Role
from models.infra import valkey
from models.infra.settings import Settings
from tests.browser import FLAGS, LAPTOP, PHONE, Site, find_chromium
from tests.furnished import Furnished, furnish
from tests.house import House, Person, migrated_sqlite
from tests.light_worker import LightWorker
from tests.webapp.served import serving
from webapp.actions.sessions import open_session
from webapp.actions.set_up import new_setup_link
from webapp.app import make_app
from webapp.deps import Deps
from webapp.pages import all_pages
from webapp.routes.cookie import NAME

FOLDER = Path(__file__).parents[1] / "docs/screens"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": LAPTOP},
    "dark": {"viewport": LAPTOP, "color_scheme": "dark"},
    "phone": {"viewport": PHONE},
}
COLOURS = 192
SETTLED_MS = 900  # charts, relative times and figures that come after the first paint
NOBODY = "nobody-has-this"
AGENT = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/128.0.0.0 Safari/537.36"

ADDRESSES: dict[str, Callable[[Furnished], str]] = {
    "/dataset": lambda made: f"/dataset?id={made.dataset}",
    "/run": lambda made: f"/run?id={made.run}",
    "/sweep": lambda made: f"/sweep?id={made.sweep}",
    "/adapter": lambda made: f"/adapter?id={made.adapter}",
    "/train": lambda made: f"/train?file={made.texts['support-answers.jsonl']}",
    "/playground": lambda made: f"/playground?conversation={made.conversation}",
}
MORE: dict[str, Callable[[Furnished], str]] = {
    "run-failed": lambda made: f"/run?id={made.failed_run}",
    "runs-compared": lambda made: f"/runs?compare={made.finished_run},{made.run},{made.failed_run}",
    "train-clone": lambda made: f"/train?from={made.finished_run}&change=1",
    "train-preset": lambda made: f"/train?file={made.texts['support-answers.jsonl']}&preset={made.preset}#preset",
    "run-finished": lambda made: f"/run?id={made.finished_run}",
    "merge": lambda made: f"/adapter?id={made.merge}",
    "dataset-report": lambda made: f"/dataset?id={made.messy_dataset}&v=1&tab=report&max=512",
    "dataset-tokens": lambda made: f"/dataset?id={made.messy_dataset}&v=1&tab=report&max=512#tokens",
    "dataset-preview": lambda made: f"/dataset?id={made.messy_dataset}&tab=preview&row=3",
    "dataset-too-long": lambda made: f"/dataset?id={made.messy_dataset}&tab=preview&row=44&max=256",
    "dataset-columns": lambda made: f"/dataset?id={made.unmapped_dataset}&tab=report",
    "dataset-edit": lambda made: f"/dataset?id={made.messy_dataset}&row=3&edit=1",
    "dataset-versions": lambda made: f"/dataset?id={made.messy_dataset}&tab=versions&with=1&to=2",
    "playground-new": lambda made: f"/playground?models={','.join(made.models)}",
}
EMPTY_NEEDS_ID = ("/dataset", "/run", "/sweep", "/adapter")  # such a page is empty where nobody has what it names


@dataclass(frozen=True)
class Screen:
    """One picture to take in every look. `person` None: nobody is signed in."""

    name: str
    path: str
    person: Person | None


def filled_screens(made: Furnished, pages: Sequence[str]) -> list[Screen]:
    found = []
    for path in pages:
        address = ADDRESSES[path](made) if path in ADDRESSES else path
        found.append(Screen(f"{_name(path)}-filled", address, made.owner))
    found += [Screen(f"{name}-filled", address(made), made.owner) for name, address in MORE.items()]
    return [
        *found,
        Screen("sign-in-filled", "/login", None),
        Screen("invitation-filled", f"/invite/{made.invitation_token}", None),
        Screen("link-filled", f"/s/{made.link_token}", None),
        Screen("link-gone-filled", "/s/" + "x" * 43, None),
    ]


def empty_screens(person: Person, setup_path: str, pages: Sequence[str]) -> list[Screen]:
    found = [
        Screen(f"{_name(path)}-empty", path + (f"?id={NOBODY}" if path in EMPTY_NEEDS_ID else ""), person)
        for path in pages
    ]
    return [*found, Screen("setup-empty", setup_path, None)]


def pictures(pages: Sequence[str]) -> set[str]:
    """The names of all files that a whole run leaves."""
    plain = {"sign-in-filled", "invitation-filled", "link-filled", "link-gone-filled", "setup-empty"}
    names = {f"{_name(path)}-{state}" for path in pages for state in ("filled", "empty")} | plain
    return {f"{name}-{look}.png" for name in names | {f"{name}-filled" for name in MORE} for look in LOOKS}


@contextmanager
def looking(site: Site, look: str) -> Iterator[Callable[[Screen], bytes]]:
    """Takes pictures in one look, with one browser for each person, so that assets are loaded once."""
    browsers: dict[str, BrowserContext] = {}

    def picture(screen: Screen) -> bytes:
        key = screen.person.principal.user if screen.person else ""
        if key not in browsers:
            browsers[key] = site.context(**LOOKS[look])
            if screen.person is not None:
                token = {"name": NAME, "value": _token(site, screen.person), "url": site.url}
                browsers[key].add_cookies([token])  # type: ignore[list-item]
        page = browsers[key].new_page()
        page.goto(site.url + screen.path)
        if screen.person is not None:
            page.locator(".tr-right").wait_for()
        page.wait_for_timeout(SETTLED_MS)
        page.wait_for_function("() => !document.querySelector('[aria-busy=true]')")
        page.wait_for_function("() => !document.body.innerText.includes('counting tokens')")
        if "#" in screen.path:
            page.locator(f"[data-key={screen.path.partition('#')[2]}]").scroll_into_view_if_needed()
        taken = page.screenshot(animations="disabled")
        page.close()
        return taken

    yield picture
    for context in browsers.values():
        context.close()


def save(picture: bytes, path: Path) -> int:
    """With few colours, so that a picture stays small; returns its size in bytes."""
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    return path.stat().st_size


def _token(site: Site, person: Person) -> str:
    who = person.principal
    return open_session(site.house.deps.database, who.user, who.team, address="192.0.2.7", agent=AGENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names that begin so, as run or run-failed")
    parser.add_argument("--look", choices=LOOKS, action="append")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    pages = [page.path for page in all_pages()]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        for is_filled in (True, False):
            with _site(browser) as site, ExitStack() as helpers:
                screens = _filled(site, pages) if is_filled else _empty(site, pages)
                helpers.enter_context(LightWorker(site.house))
                for look in asked.look or LOOKS:
                    with looking(site, look) as picture:
                        for screen in screens:
                            if screen.name.startswith(asked.only):
                                path = asked.folder / f"{screen.name}-{look}.png"
                                print(f"{path.name}: {save(picture(screen), path) // 1000} kB", flush=True)
        browser.close()


def _filled(site: Site, pages: Sequence[str]) -> list[Screen]:
    return filled_screens(furnish(site.house), pages)


def _empty(site: Site, pages: Sequence[str]) -> list[Screen]:
    setup = new_setup_link(site.house.deps.database, site.url)
    assert setup is not None
    return empty_screens(site.person(Role.OWNER), setup.removeprefix(site.url), pages)


@contextmanager
def _site(browser: Browser) -> Iterator[Site]:
    """A served installation of its own; nothing claims jobs."""
    with tempfile.TemporaryDirectory(prefix="tr-") as folder:
        settings = migrated_sqlite(Settings(data_dir=Path(folder)))
        broker = valkey.start(settings)
        deps = Deps.open(settings)
        house = House(deps=deps, client=TestClient(make_app(deps, with_pages=True)))
        try:
            with serving(house) as served:
                yield Site(house=house, url=served.url, browser=browser)
        finally:
            deps.close()
            if broker is not None:
                broker.stop()


def _name(path: str) -> str:
    return path.strip("/").replace("/", "-")


if __name__ == "__main__":
    main()
