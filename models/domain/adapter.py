"""What a trained adapter is, on paper: `manifest.json` in its folder. Load, merge, share and export verify it.

PEFT itself stores only a name and loads an adapter onto any base of the same shape without a word.
"""

from typing import Any, Literal

from pydantic import Field

from models.domain.ids import Sha256
from models.domain.objectives import ObjectiveSpec
from models.domain.reading import Reading
from models.domain.training import KeptTogether, Quantisation, Spec


class AdapterBase(Spec):
    """Exactly which weights and tokens the adapter belongs to."""

    name: str = Field(title="Public id of the base")
    tree_sha256: Sha256 = Field(title="Listing of the base folder in storage")
    config_sha256: Sha256
    tokenizer_sha256: Sha256
    chat_template_sha256: Sha256 | None


class TrainedSource(Spec):
    """One dataset version of the mix: its bytes, how they were read, and what became of its rows.

    `taken` of the usable ones were drawn and `held_back` of those never trained on; `trained` is how many an epoch
    shows, repeats counted, before rows are left out that the base cannot write or that are too long.
    """

    sha256: Sha256
    reading: Reading
    weight: float
    rows: int
    usable_rows: int
    taken: int
    held_back: int
    trained: int


class TrainedSplit(Spec):
    """How training and validation were told apart. `rows` are held back; None: another file validates."""

    kept_together: KeptTogether
    column: str | None
    seed: int
    rows: int | None


class AdapterData(Spec):
    """What it was trained on. Losses are per trained token, nats; of DPO and KTO they are per pair or row.

    `rows` are the sequences of one epoch and `tokens` their length in all; `left_out` counts rows by the reason.
    `steps` are all that were taken; `heldout_loss_after` is that of the weights here.
    """

    training_sha256: Sha256
    rows: int
    steps: int
    trained_tokens: int
    first_loss: float
    last_loss: float
    heldout_loss_before: float | None
    heldout_loss_after: float | None
    tokens: int | None = None
    sources: tuple[TrainedSource, ...] = ()
    validation_sha256: Sha256 | None = None
    split: TrainedSplit | None = None
    left_out: dict[str, int] = Field(default_factory=dict)
    epochs: float | None = Field(default=None, title="Of `steps`, as a share of an epoch's steps")
    planned_steps: int | None = Field(default=None, title="The schedule's length, if the training ended before it")
    stopped_early_at: int | None = Field(default=None, title="Step at which evaluations no longer improved")
    adapter_step: int | None = Field(
        default=None, title="Step of the best evaluation, if it was kept instead of the last"
    )


class AdapterMachine(Spec):
    """Where it was trained: equal bits need equal entries here."""

    device: str
    cpu_model: str
    threads: int
    versions: dict[str, str]


class AdapterParent(Spec):
    """The adapter that a training began with: its id, and the hash of its adapter_model.safetensors."""

    id: str
    weights_sha256: Sha256


class AdapterManifest(Spec):
    """`manifest.json`. Serving takes quantisation, template arguments and stop ids from here."""

    base: AdapterBase
    quantisation: Quantisation
    compute_dtype: Literal["fp32", "bf16"]
    template_arguments: dict[str, str | bool | int]
    stop_token_ids: tuple[int, ...]
    method: str
    method_options: dict[str, Any]
    target_modules: tuple[str, ...] = Field(title="Full names of the adapted modules, sorted")
    weights_sha256: Sha256 = Field(title="Of adapter_model.safetensors")
    seed: int
    learning_rate: float | None = Field(default=None, title="The highest of its schedule; None: not recorded then")
    objective: ObjectiveSpec | None = Field(default=None, title="What was minimised; None: supervised")
    reference_sha256: Sha256 | None = Field(default=None, title="Of the start's log-probabilities, for DPO and KTO")
    data: AdapterData
    machine: AdapterMachine
    continued_from: AdapterParent | None = None
