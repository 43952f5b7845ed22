"""What we leave out of Gradio and what we change in it, held against the version that is installed."""

import subprocess
import sys
from pathlib import Path

from gradio.route_utils import BUILD_PATH_LIB
from starlette.testclient import TestClient

from tests.webapp.view import viewing
from webapp.found_at_once import quick_script

ROOT = Path(__file__).parents[2]
LOADED = "import webapp.mounting, gradio.component_meta as meta; print(meta.create_or_modify_pyi.__module__)"


def test_the_web_process_imports_gradio_without_writing_type_stubs():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["webapp.without_stubs"]


def test_the_script_that_finds_components_is_the_changed_one_and_no_page_is_rendered_anew(tmp_path):
    route = quick_script(Path(BUILD_PATH_LIB))
    assert route is not None, "this version of Gradio looks for components in another way"
    with viewing(tmp_path) as view:
        assert view.gradio.get_blocks().renderables == []
        with view.browser(view.house.person()) as browser:
            answer = browser.get(route.path)
            assert "javascript" in answer.headers["content-type"] and "immutable" in answer.headers["cache-control"]
            assert answer.text.count("_found=new WeakMap") == 1
        assert TestClient(view.gradio).get(route.path).text.count("_found=new WeakMap") == 0
