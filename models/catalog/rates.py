"""The learning rate to start from: by method, width, objective and rows. Judgement, written down once; no schedule."""

from models.catalog.methods import METHODS
from models.catalog.methods.base import Family, Rate
from models.domain.objectives import RATE_OF, Objective
from models.domain.training import TrainingSpec

OF_TEXTS = Rate(value=1e-4, reason="usual for plain texts")


def recommended_rate(
    method: str, hidden_size: int, objective: Objective = Objective.SUPERVISED, *, are_texts: bool = False
) -> Rate:
    """For a base of this hidden size, trained on answers; preferences take a small one, whatever the width.

    `are_texts`: all rows are plain texts (continued pre-training), which LoRA and its kin take slowly, too.
    """
    if objective in RATE_OF:
        return Rate(value=RATE_OF[objective], reason=f"of {objective.upper()} on small adapters")
    if are_texts and METHODS[method].family is Family.LORA:
        return OF_TEXTS
    return METHODS[method].rate(hidden_size)


def with_rate_of_rows(spec: TrainingSpec, *, are_texts: bool) -> TrainingSpec:
    """The spec as it is queued: its rate written out where only its rows say which one is recommended.

    A worker takes an empty rate without a look at the rows, so that what was stored before this rule trains as it did;
    and whoever reads the settings sees the rate that is used.
    """
    if not are_texts or spec.schedule.learning_rate is not None:
        return spec
    if recommended_of(spec, 1, are_texts=are_texts) is not OF_TEXTS:
        return spec
    schedule = spec.schedule.model_copy(update={"learning_rate": OF_TEXTS.value})
    return spec.model_copy(update={"schedule": schedule})


def with_rate_of_worker(spec: TrainingSpec, hidden_size: int, *, are_texts: bool) -> TrainingSpec:
    """The inverse view, of a spec that was queued: an empty rate that would be read differently now, written out."""
    if with_rate_of_rows(spec, are_texts=are_texts) is spec:
        return spec
    schedule = spec.schedule.model_copy(update={"learning_rate": recommended_of(spec, hidden_size).value})
    return spec.model_copy(update={"schedule": schedule})


def recommended_of(spec: TrainingSpec, hidden_size: int, *, are_texts: bool = False) -> Rate:
    """The same of a whole training."""
    return recommended_rate(spec.method.name, hidden_size, spec.objective.name, are_texts=are_texts)
