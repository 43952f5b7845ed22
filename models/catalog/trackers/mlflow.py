"""MLflow: a tracking server, or a database file of the team's own on the worker's machine."""

from pydantic import Field, field_validator

from models.catalog.trackers.base import LOCAL, Options, Tracker, project_field, web_address


class MlflowOptions(Options):
    address: str = Field(
        title="Tracking server", max_length=500,
        description="https://host of the server, or the word local: a file of the team on the worker's machine.",
    )  # fmt: skip
    experiment: str = project_field()

    @field_validator("address")
    @classmethod
    def _an_address(cls, value: str) -> str:
        return value.strip() if value.strip() == LOCAL else web_address(value, what="an MLflow server")


TRACKER = Tracker(
    name="mlflow",
    title="MLflow",
    when="A server that the team already has. The token may be a bearer token, or user:password.",
    options=MlflowOptions,
    library="mlflow",
    token="Token",
    addresses=lambda options: () if options.address == LOCAL else (options.address,),
    is_local=lambda options: options.address == LOCAL,
)
