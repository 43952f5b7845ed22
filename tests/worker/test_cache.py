"""Local copies: verified, bounded, shared between processes, never taken from who uses them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.domain.errors import AppError, NotFound
from models.infra.settings import Settings
from models.infra.storage import SHARED, Storage
from worker.cache import Cache, link_tree

MB = 10**6


class Copying(Storage):
    """Storage that has no local files, as s3:// has none."""

    def local_path(self, scope: str, sha256: str) -> None:
        return None


@pytest.fixture(params=[Storage, Copying])
def storage(request, tmp_path) -> Storage:
    return request.param(f"file://{tmp_path / 'storage'}")


def cache_of(tmp_path: Path, storage: Storage, most_bytes: int = 100 * MB) -> Cache:
    return Cache(Settings(data_dir=tmp_path, cache_bytes=most_bytes), storage)


def stored_tree(tmp_path: Path, storage: Storage, name: str, size: int = 1000):
    folder = tmp_path / f"source-{name}"
    (folder / "deep").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(name.encode() * (size // len(name)))
    (folder / "deep" / "config.json").write_text(name)
    return storage.put_tree(SHARED, folder)[0]


def test_a_tree_arrives_whole_and_is_brought_once(tmp_path, storage):
    cache, ref = cache_of(tmp_path, storage), stored_tree(tmp_path, storage, "a")
    path = cache.tree(ref)
    assert (path / "deep" / "config.json").read_text() == "a"
    shutil.rmtree(tmp_path / "storage")
    assert cache.tree(ref) == path


def test_a_tree_without_its_weights_arrives_beside_the_whole_one(tmp_path, storage):
    cache, folder = cache_of(tmp_path, storage), tmp_path / "base"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"w" * 1000)
    (folder / "tokenizer.json").write_text("{}")
    ref, _ = storage.put_tree(SHARED, folder)
    with cache.using_tree(ref) as whole, cache.using_texts(ref) as texts:
        assert [path.name for path in sorted(whole.iterdir())] == ["model.safetensors", "tokenizer.json"]
        assert [path.name for path in texts.iterdir()] == ["tokenizer.json"]


def test_a_file_arrives_by_its_hash(tmp_path, storage):
    cache, ref = cache_of(tmp_path, storage), storage.put_bytes(SHARED, b"rows")
    assert cache.file(SHARED, ref.sha256).read_bytes() == b"rows"
    with pytest.raises(NotFound):
        cache.file(SHARED, "0" * 64)


def test_damaged_bytes_never_arrive(tmp_path, storage):
    cache, ref = cache_of(tmp_path, storage), storage.put_bytes(SHARED, b"rows")
    stored = tmp_path / "storage" / SHARED / ref.sha256[:2] / ref.sha256
    stored.chmod(0o640)
    stored.write_bytes(b"r0ws")
    with pytest.raises(AppError, match="damaged"):
        cache.file(SHARED, ref.sha256)
    assert list((tmp_path / "cache" / "files").iterdir()) == []
    assert list((tmp_path / "cache" / "arriving").iterdir()) == []


def test_local_storage_is_linked_not_copied(tmp_path):
    storage = Storage(f"file://{tmp_path / 'storage'}")
    ref = storage.put_bytes(SHARED, b"weights")
    path = cache_of(tmp_path, storage).file(SHARED, ref.sha256)
    assert path.stat().st_nlink == 2


def test_what_was_used_longest_ago_makes_room(tmp_path, storage):
    cache = cache_of(tmp_path, storage, most_bytes=100 * MB)
    refs = [stored_tree(tmp_path, storage, name, 40 * MB) for name in "ab"]
    for age, ref in enumerate(reversed(refs)):  # b is older than a
        os.utime(cache.tree(ref), (age + 1, age + 1))
        cache.let_go(ref.sha256)
    cache.tree(stored_tree(tmp_path, storage, "c", 40 * MB))
    assert (tmp_path / "cache" / "trees" / refs[0].sha256).exists()
    assert not (tmp_path / "cache" / "trees" / refs[1].sha256).exists()


def test_what_is_in_use_is_never_evicted_by_another_process(tmp_path, storage):
    cache, ref = cache_of(tmp_path, storage), stored_tree(tmp_path, storage, "a")
    path = cache.tree(ref)
    evict = (
        "from pathlib import Path; from worker.cache import Cache; from models.infra.settings import Settings;"
        "from models.infra.storage import Storage;"
        f"Cache(Settings(data_dir=Path({str(tmp_path)!r})), Storage('file:///nowhere')).make_room(10**15)"
    )
    command = [sys.executable, "-c", evict]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert (path / "weights.bin").exists()
    cache.let_go(ref.sha256)
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
    assert not path.exists()


def test_two_processes_that_want_one_tree_get_one_whole_tree(tmp_path, storage):
    ref = stored_tree(tmp_path, storage, "a", 20 * MB)
    bring = (
        "import sys; from pathlib import Path; from worker.cache import Cache;"
        "from models.infra.settings import Settings; from models.infra.storage import Storage;"
        "from models.domain.chat import TreeRef;"
        f"c = Cache(Settings(data_dir=Path({str(tmp_path)!r})), Storage({'file://' + str(tmp_path / 'storage')!r}));"
        f"p = c.tree(TreeRef(scope={SHARED!r}, sha256={ref.sha256!r}));"
        f"sys.exit((p / 'weights.bin').stat().st_size != {20 * MB})"
    )
    both = [subprocess.Popen([sys.executable, "-c", bring], cwd=Path(__file__).parents[2]) for _ in range(2)]
    assert [process.wait(30) for process in both] == [0, 0]
    assert [path.name for path in (tmp_path / "cache" / "trees").iterdir()] == [ref.sha256]


def test_a_watch_that_raises_ends_the_wait_and_leaves_nothing(tmp_path, storage):
    cache, ref = cache_of(tmp_path, storage), stored_tree(tmp_path, storage, "a")

    def give_up() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        cache.tree(ref, give_up)
    assert cache.tree(ref).exists()


def test_a_linked_tree_outlives_its_entry(tmp_path, storage):
    cache, ref = cache_of(tmp_path, storage), stored_tree(tmp_path, storage, "a")
    with cache.using_tree(ref) as path:
        link_tree(path, tmp_path / "job" / "in" / "base")
    cache.make_room(10**15)
    assert not path.exists()
    assert (tmp_path / "job" / "in" / "base" / "deep" / "config.json").read_text() == "a"


def test_what_is_kept_is_there_under_its_name_until_it_is_evicted_or_forgotten(tmp_path, storage):
    cache, made = cache_of(tmp_path, storage), tmp_path / "made"
    made.mkdir()
    (made / "weights.bin").write_bytes(b"w" * MB)
    with cache.using_kept("a" * 64) as path:
        assert path is None
    cache.keep("a" * 64, made)
    cache.keep("a" * 64, made)
    with cache.using_kept("a" * 64) as path:
        assert path is not None and (path / "weights.bin").stat().st_size == MB
        cache.forget("a" * 64)
        cache.make_room(100 * MB)
        assert path.exists()
    cache.make_room(100 * MB)
    with cache.using_kept("a" * 64) as path:
        assert path is None
    cache.keep("b" * 64, made)
    cache.forget("b" * 64)
    with cache.using_kept("b" * 64) as path:
        assert path is None


def test_a_folder_with_a_link_in_it_is_not_kept(tmp_path, storage):
    cache, made = cache_of(tmp_path, storage), tmp_path / "made"
    made.mkdir()
    (tmp_path / "secret").write_text("s")
    (made / "weights.bin").symlink_to(tmp_path / "secret")
    cache.keep("a" * 64, made)
    with cache.using_kept("a" * 64) as path:
        assert path is None
