"""The body of a create, and how OpenAI's words become a TrainingSpec. Checks what needs no database."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from models.domain.errors import Invalid
from models.domain.objectives import Objective
from models.domain.training import MethodChoice, Quantisation, TrainingSpec
from webapp import words
from webapp.actions.start_training import checked_method
from webapp.routes.asking import Body

AutoIsNone = BeforeValidator(lambda value: None if value == "auto" else value)
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


class Hyperparameters(BaseModel):
    """OpenAI's three, each "auto" or a number."""

    model_config = ConfigDict(extra="forbid")

    n_epochs: Annotated[int | None, Field(ge=1, le=50), AutoIsNone] = None
    batch_size: Annotated[int | None, Field(ge=1, le=256), AutoIsNone] = None
    learning_rate_multiplier: Annotated[float | None, Field(gt=0, le=100), AutoIsNone] = None

    def schedule(self) -> dict[str, Any]:
        """The same wishes in our words; what is None is left to the defaults."""
        named = {
            "epochs": self.n_epochs,
            "batch_rows": self.batch_size,
            "learning_rate_multiplier": self.learning_rate_multiplier,
        }
        return {name: value for name, value in named.items() if value is not None}


class DpoHyperparameters(Hyperparameters):
    """Those of a DPO job: a fourth one, up to 2 as OpenAI has it."""

    beta: Annotated[float | None, Field(gt=0, le=2), AutoIsNone] = None


class Supervised(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hyperparameters: Hyperparameters | None = None


class Dpo(BaseModel):
    model_config = ConfigDict(extra="forbid")

    hyperparameters: DpoHyperparameters | None = None


class OpenAiMethod(BaseModel):
    """`type` is free text here, so that reinforcement gets a sentence instead of a list of literals.

    `kto` is ours: OpenAI has no such type, and old code cannot meet it by chance.
    """

    model_config = ConfigDict(extra="allow")

    type: str = Field(default="supervised", max_length=64)
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    kto: Dpo | None = None

    def chosen(self) -> Hyperparameters | None:
        """The wishes of the chosen type."""
        part = {"supervised": self.supervised, "dpo": self.dpo, "kto": self.kto}.get(self.type)
        return part.hyperparameters if part else None


class Knobs(BaseModel):
    """`tuneroom`: parts of a TrainingSpec, whose own ranges check them."""

    model_config = ConfigDict(extra="forbid")

    method: MethodChoice | None = None
    objective: dict[str, Any] = Field(default_factory=dict)
    quantisation: Quantisation | None = None
    start_adapter: str | None = Field(default=None, min_length=1, max_length=255)
    data: dict[str, Any] = Field(default_factory=dict)
    schedule: dict[str, Any] = Field(default_factory=dict)


class JobRequest(Body):
    model: str = Field(min_length=1, max_length=255)
    training_file: str = Field(min_length=1, max_length=64)
    validation_file: str | None = Field(default=None, max_length=64)
    suffix: str | None = Field(default=None, max_length=64)
    seed: int | None = Field(default=None, ge=0, le=2**31 - 1)
    method: OpenAiMethod | None = None
    hyperparameters: Hyperparameters | None = None  # deprecated by OpenAI, still sent by old code
    integrations: list[Any] | None = None
    metadata: dict[MetadataKey, MetadataValue] | None = Field(default=None, max_length=16)
    tuneroom: Knobs = Knobs()

    def spec(self) -> TrainingSpec:
        """Raises Invalid naming the field: out of range, not supported, or said twice with two values."""
        self._refuse_unsupported()
        files = {"training_file": self.training_file, "validation_file": self.validation_file}
        if twice := sorted(set(files) & set(self.tuneroom.data)):
            raise Invalid(f"{twice[0]} stands outside of tuneroom.data. Move it.", param=f"tuneroom.data.{twice[0]}")
        knobs: dict[str, Any] = {"schedule": self._schedule(), "data": files | self.tuneroom.data}
        knobs["objective"] = self._objective()
        if self.tuneroom.quantisation is not None:
            knobs["quantisation"] = self.tuneroom.quantisation
        if self.tuneroom.start_adapter is not None:
            knobs["start_adapter"] = self.tuneroom.start_adapter
        if self.tuneroom.method is not None:
            knobs["method"] = checked_method(self.tuneroom.method, at="tuneroom.method")
        try:
            return TrainingSpec.model_validate({"base": self.model, "suffix": self.suffix or None, **knobs})
        except ValidationError as error:
            problems = error.errors()
            raise words.refused_field(problems, "" if problems[0]["loc"][:1] == ("suffix",) else "tuneroom") from None

    def _schedule(self) -> dict[str, Any]:
        """The three places that speak of epochs and rates, agreeing or refused."""
        method = self.method.chosen() if self.method else None
        told: dict[str, tuple[str, Any]] = {}
        for where, schedule in (
            ("hyperparameters", self.hyperparameters.schedule() if self.hyperparameters else {}),
            (f"method.{self.method.type if self.method else ''}.hyperparameters", method.schedule() if method else {}),
            ("seed", {"seed": self.seed} if self.seed is not None else {}),
            ("tuneroom.schedule", self.tuneroom.schedule),
        ):
            _add(told, where, schedule)
        return {name: value for name, (_, value) in told.items()}

    def _objective(self) -> dict[str, Any]:
        """What `method.type` and `tuneroom.objective` say, agreeing or refused."""
        told: dict[str, tuple[str, Any]] = {}
        if self.method is not None:
            _add(told, "method.type", {"name": self.method.type})
            wished = self.method.chosen()
            if isinstance(wished, DpoHyperparameters) and wished.beta is not None:
                _add(told, f"method.{self.method.type}.hyperparameters", {"beta": wished.beta})
        _add(told, "tuneroom.objective", self.tuneroom.objective)
        return {name: value for name, (_, value) in told.items()}

    def _refuse_unsupported(self) -> None:
        if self.method is not None:
            _refuse_other_types(self.method)
        if self.integrations:
            raise Invalid("No integrations are offered yet. Leave the field out.", param="integrations")


def _refuse_other_types(method: OpenAiMethod) -> None:
    if method.type not in set(Objective):
        raise Invalid(
            f"The method {method.type[:40]!r} is not offered; send type={' or '.join(Objective)}.", param="method.type"
        )
    others = [str(name) for name in Objective if name != method.type and getattr(method, name) is not None]
    if extra := sorted([*others, *(str(name) for name in method.model_extra or {})]):
        raise Invalid(f"method.{extra[0][:40]} belongs to another type. Remove it.", param=f"method.{extra[0][:40]}")


def _add(told: dict[str, tuple[str, Any]], where: str, values: dict[str, Any]) -> None:
    """Raises Invalid where an earlier place gave another value."""
    for name, value in values.items():
        earlier = told.setdefault(name, (where, value))
        if earlier[1] != value:
            raise Invalid(
                f"{earlier[0]} and {where} give two values for {name}: {earlier[1]} and {str(value)[:40]}. "
                "Say it once.",
                param=where,
            )
