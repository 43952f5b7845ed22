"""Every page has its pictures, and they stay small."""

from tests.screens import FOLDER, pictures
from webapp.pages import all_pages

MOST_BYTES = 6_000_000


def test_every_page_has_its_pictures_in_every_look():
    taken = {path.name for path in FOLDER.glob("*.png")}
    assert taken == pictures([page.path for page in all_pages()])
    assert sum(path.stat().st_size for path in FOLDER.glob("*.png")) < MOST_BYTES
