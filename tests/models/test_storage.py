"""Storage: bytes come back as they went in, once per scope, verified, and never outside their root."""

import io
import json

import pytest

from models.domain.chat import TreeRef
from models.domain.errors import AppError, Code, Invalid, NotFound
from models.infra.storage import SHARED, Listing, Storage, TreeFile, team_scope

A, B = team_scope("team-a"), team_scope("team-b")


@pytest.fixture
def root(tmp_path):
    return tmp_path / "storage"


@pytest.fixture(params=["file", "memory"])
def storage(request, root):
    """A local folder, and a file system that is not one."""
    return Storage(f"file://{root}" if request.param == "file" else f"memory://{root}")


@pytest.fixture
def on_disk(root):
    return Storage(f"file://{root}")


def files_in(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def make_tree(folder, **files: bytes):
    for name, data in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def test_a_blob_comes_back_byte_for_byte(storage, tmp_path):
    data = bytes(range(256)) * 10_000  # more than two chunks
    ref = storage.put_bytes(A, data)
    storage.fetch_file(A, ref.sha256, tmp_path / "back" / "blob")
    assert (tmp_path / "back" / "blob").read_bytes() == data
    assert ref.size == len(data)


def test_equal_bytes_are_stored_once_within_a_scope_and_never_across(on_disk, root):
    first, again, other = on_disk.put_bytes(A, b"same"), on_disk.put_bytes(A, b"same"), on_disk.put_bytes(B, b"same")
    assert first == again
    assert first.sha256 == other.sha256
    assert len(files_in(root)) == 2


def test_another_teams_blob_is_not_found_by_its_hash(storage):
    ref = storage.put_bytes(A, b"secret")
    with pytest.raises(NotFound), storage.open(B, ref.sha256):
        pass


def test_too_large_is_refused_while_it_is_read_and_leaves_nothing(on_disk, root):
    with pytest.raises(Invalid) as refused:
        on_disk.put_stream(A, io.BytesIO(b"x" * 3_000_000), max_bytes=2_999_999)
    assert refused.value.code is Code.TOO_LARGE
    assert files_in(root) == []
    assert on_disk.put_stream(A, io.BytesIO(b"x" * 10), max_bytes=10).size == 10


def test_a_stream_that_breaks_leaves_nothing(on_disk, root):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if self.tell() > 0:
                raise ConnectionError("gone")
            return super().read(5)

    with pytest.raises(ConnectionError):
        on_disk.put_stream(A, Broken(b"0123456789"))
    assert files_in(root) == []


@pytest.mark.parametrize(
    "sha256", ["", "../../etc/passwd", "a" * 63, "A" * 64, "a" * 64 + "/..", "/" + "a" * 63, "a" * 62 + "..", "\0" * 64]
)
def test_what_is_no_hash_reaches_no_file(storage, sha256):
    with pytest.raises(NotFound), storage.open(A, sha256):
        pass


def test_damage_is_noticed_and_the_damaged_copy_is_not_left(on_disk, root, tmp_path):
    ref = on_disk.put_bytes(A, b"good bytes")
    (stored,) = files_in(root)
    stored.chmod(0o640)
    stored.write_bytes(b"evil bytes")
    with pytest.raises(AppError, match="damaged"):
        on_disk.fetch_file(A, ref.sha256, tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*"))


def test_a_stored_blob_cannot_be_written_by_accident(on_disk, root):
    on_disk.put_bytes(A, b"x")
    assert files_in(root)[0].stat().st_mode & 0o222 == 0


def test_a_tree_comes_back_whole_and_has_a_stable_name(storage, tmp_path):
    folder = make_tree(tmp_path / "in", config=b"{}", sub__weights=b"w" * 100)
    tree, listing = storage.put_tree(A, folder)
    assert storage.put_tree(A, folder)[0] == tree
    assert [file.path for file in listing.files] == ["config", "sub/weights"]
    storage.fetch_tree(tree, tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "weights").read_bytes() == b"w" * 100


def test_a_link_in_a_folder_is_refused(on_disk, tmp_path):
    folder = make_tree(tmp_path / "in", a=b"a")
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(Invalid, match="symbolic link"):
        on_disk.put_tree(A, folder)


@pytest.mark.parametrize("path", ["../outside", "/absolute", "a/../../b", "a/..", ""])
def test_a_listing_that_leaves_its_folder_writes_nothing(on_disk, tmp_path, path):
    blob = on_disk.put_bytes(A, b"evil")
    listing = Listing(files=(TreeFile(path=path, sha256=blob.sha256, size=4),))
    tree = TreeRef(scope=A, sha256=on_disk.put_bytes(A, listing.canonical()).sha256)
    with pytest.raises(Invalid):
        on_disk.fetch_tree(tree, tmp_path / "place" / "out")
    assert not (tmp_path / "place").exists() or list((tmp_path / "place").rglob("*")) == []
    assert not (tmp_path / "outside").exists()


def test_a_tree_with_a_missing_file_is_fetched_not_at_all(on_disk, root, tmp_path):
    tree, listing = on_disk.put_tree(A, make_tree(tmp_path / "in", a=b"a", b=b"b"))
    next(path for path in files_in(root) if path.name == listing.files[1].sha256).unlink()
    with pytest.raises(NotFound):
        on_disk.fetch_tree(tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_a_listing_that_was_tampered_with_is_damage(on_disk, root, tmp_path):
    tree, _ = on_disk.put_tree(A, make_tree(tmp_path / "in", a=b"a"))
    stored = next(path for path in files_in(root) if path.name == tree.sha256)
    stored.chmod(0o640)
    stored.write_text(json.dumps({"files": []}))
    with pytest.raises(AppError, match="damaged"):
        on_disk.listing(tree)


def test_readiness_tells_whether_bytes_can_be_stored_now(on_disk, root):
    assert on_disk.is_alive()
    assert files_in(root) == []
    blocked = root.parent / "blocked"
    blocked.write_text("a file where a folder is needed")
    assert not Storage(f"file://{blocked}").is_alive()


def test_scopes_of_teams_and_the_shared_one_differ():
    assert len({A, B, SHARED}) == 3
