"""Downloads the data files of one split of a hub dataset: pinned to a commit, resumable, verified, bounded.

Which files a split is, their names say, as on the hub itself: train.jsonl, data/train-00000-of-00002.parquet, a folder
train/, or the only file there is. No script of the repository is ever run. Knows no job and no SQL.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import httpx

from models.catalog.containers import ENDINGS
from models.domain.data_jobs import FetchDataSpec
from models.domain.errors import Code, Invalid
from models.domain.reading import MOST_PARTS
from worker.hub import TIMEOUT, RemoteFile, Report, fetch, remote, unavailable

NEVER = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "package.json", "config.json")
SHOWN = 8  # names in a sentence
_SHARD = r"(?:[-_.]?\d{1,6}(?:-of-\d{1,6})?)?(?:-[0-9a-f]{16})?"


@dataclass(frozen=True, kw_only=True)
class Split:
    """What was fetched: its files in order, the commit it is pinned to, and the licence the page names."""

    files: tuple[str, ...]
    revision: str
    licence: str | None


def download_split(
    spec: FetchDataSpec, into: Path, token: str | None, report: Report, most_bytes: int, endpoint: str | None = None
) -> Split:
    """Bring the split's files below `into`, going on where an earlier attempt stopped.

    Raises Invalid where the dataset, the revision, the split or the permission is missing or it is too large, and
    Unavailable where the hub does not answer.
    """
    from httpx2 import HTTPError  # huggingface_hub's own HTTP library since 2.0, and the root of its other errors
    from huggingface_hub import HfApi, hf_hub_url
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    repo = spec.reference
    try:
        found = HfApi(endpoint=endpoint, token=token or False).dataset_info(
            repo, revision=spec.revision, files_metadata=True
        )
    except GatedRepoError:
        _refuse(f"{repo} is gated: its page on the hub asks for an agreement. Agree there, then save a token here.")
    except RevisionNotFoundError:
        _refuse(f"{repo} has no revision {spec.revision}. Look at its page for branches, tags and commits.")
    except RepositoryNotFoundError:
        _refuse(f"the hub has no dataset {repo}, or it is private. Correct the name, or save a token that may read it.")
    except (HTTPError, OSError) as error:
        raise unavailable() from error
    assert found.sha is not None  # the hub always names the commit
    there = {sibling.rfilename: remote(sibling) for sibling in found.siblings or []}
    chosen = [there[path] for path in files_of_split(repo, list(there), spec.split)]
    total = _checked_size(repo, chosen, most_bytes)
    done = 0
    headers = {"authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(headers=headers, timeout=TIMEOUT, follow_redirects=True) as client:
        for file in chosen:
            url = hf_hub_url(repo, file.path, repo_type="dataset", revision=found.sha, endpoint=endpoint)
            for size in fetch(client, url, file, into / file.path):
                report(done + size, total)
            done += file.size
    licence = found.card_data.get("license") if found.card_data else None
    return Split(
        files=tuple(file.path for file in chosen),
        revision=found.sha,
        licence=licence if isinstance(licence, str) else None,
    )


def files_of_split(repo: str, paths: Sequence[str], split: str) -> list[str]:
    """The data files of `split` ("train", or "folder/train" where folders have their own), in order.

    Raises Invalid naming what there is.
    """
    data = sorted(path for path in paths if _is_data(path))
    if not data:
        held = ", ".join(sorted(paths)[:SHOWN]) or "nothing"
        _refuse(f"{repo} holds no file of rows ({', '.join(ENDINGS)}); it holds {held}. Choose another dataset.")
    folder, _, name = split.rpartition("/")
    below = [path for path in data if not folder or path.startswith(f"{folder}/") or f"/{folder}/" in path]
    found = [path for path in below if _is_of(path, name)]
    if not found and len(data) == 1 and not folder and name == "train":
        return data  # one file that names no split: the hub calls that train
    places = sorted({_folder_of(path, name) for path in found})
    if len(places) > 1:
        choices = ", ".join(f'"{place}/{name}"' for place in places[:SHOWN] if place)
        _refuse(f'{repo} has the split "{name}" in several folders. Say which one as split: {choices}.')
    if not found:
        _refuse(
            f'{repo} has no split "{split}". Its files of rows are {", ".join(data[:SHOWN])}. Choose another split.'
        )
    endings = {_ending(path) for path in found}
    if len(endings) > 1:  # the same rows in several containers: the first known one is enough
        best = min(endings, key=ENDINGS.index)
        found = [path for path in found if _ending(path) == best]
    return found


def _is_data(path: str) -> bool:
    parts = path.split("/")
    is_plain = all(part and not part.startswith(".") for part in parts) and ".." not in parts
    return is_plain and _ending(path) != "" and parts[-1].lower() not in NEVER


def _ending(path: str) -> str:
    return max((one for one in ENDINGS if path.lower().endswith(one)), key=len, default="")


def _is_of(path: str, split: str) -> bool:
    """train.csv, train-00000-of-00003.parquet, anything-train.jsonl; or any file in a folder train/."""
    *folders, name = path.lower().split("/")
    stem, wanted = name.removesuffix(_ending(name)), re.escape(split.lower())
    return bool(re.fullmatch(rf"(?:.*[-_.])?{wanted}{_SHARD}", stem)) or split.lower() in folders


def _folder_of(path: str, split: str) -> str:
    """The folder that tells two configurations apart: "data" and the split's own name do not."""
    folders = [part for part in path.split("/")[:-1] if part.lower() not in ("data", split.lower())]
    return "/".join(folders)


def _checked_size(repo: str, files: list[RemoteFile], most_bytes: int) -> int:
    total = sum(file.size for file in files)
    if len(files) > MOST_PARTS:
        _refuse(
            f"the split of {repo} has {len(files)} files; at most {MOST_PARTS} make one version. Upload a part of it."
        )
    if total > most_bytes:
        _refuse(f"the split of {repo} has {total:,} bytes; at most {most_bytes:,} are taken. Upload a part of it.")
    return total


def _refuse(message: str) -> NoReturn:
    raise Invalid(message, code=Code.INVALID_REQUEST)
