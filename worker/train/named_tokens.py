"""Turns the texts of tokens that a person wants trained into ids of the base's tokenizer. Knows no tensors."""

from pathlib import Path

from models.catalog.trained_tokens import PARAM
from models.domain.errors import Code, Invalid
from models.domain.training import TrainingSpec
from worker.data.base_folder import read_base_folder

OPTION = PARAM.rpartition(".")[2]


def with_token_ids(spec: TrainingSpec, base: Path) -> TrainingSpec:
    """The wish with ids, as text, in place of names. Raises Invalid naming a text that is no single token."""
    named = spec.method.options.get(OPTION)
    if not named:
        return spec
    tokenizer = read_base_folder(base).tokenizer
    ids = []
    for token in named:
        found = int(token) if token.isdecimal() else tokenizer.token_to_id(token)
        if found is None:
            raise Invalid(
                f'"{token[:60]}" is not one token of this base. Write a token as its tokenizer has it, or its id.',
                code=Code.INVALID_SETTING,
                param=PARAM,
            )
        ids.append(str(found))
    options = spec.method.options | {OPTION: sorted(set(ids), key=int)}
    return spec.model_copy(update={"method": spec.method.model_copy(update={"options": options})})
