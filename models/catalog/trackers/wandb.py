"""Weights & Biases: its cloud, a server of the team's own, or folders to `wandb sync` by hand."""

from typing import Literal

from pydantic import Field, field_validator

from models.catalog.trackers.base import Options, Tracker, project_field, web_address

CLOUD = "https://api.wandb.ai"


class WandbOptions(Options):
    mode: Literal["online", "offline"] = Field(
        default="online", title="Mode",
        description="offline writes folders on the worker's machine, to be sent by wandb sync later.",
    )  # fmt: skip
    project: str = project_field()
    entity: str = Field(
        default="", title="Entity", max_length=100, pattern=r"^[A-Za-z0-9_-]*$",
        description="The user or team there; empty: the token's own.",
    )  # fmt: skip
    address: str = Field(
        default=CLOUD, title="Server", max_length=500,
        description="Another one than the cloud must be named in TUNEROOM_TRACKER_HOSTS.",
    )  # fmt: skip

    @field_validator("address")
    @classmethod
    def _an_address(cls, value: str) -> str:
        return web_address(value, what="a W&B server")


TRACKER = Tracker(
    name="wandb",
    title="Weights & Biases",
    when="The cloud or a server of your own, by API key; offline without either.",
    options=WandbOptions,
    library="wandb",
    token="API key",
    needs_token=lambda options: options.mode == "online",
    addresses=lambda options: (options.address,) if options.mode == "online" else (),
    is_local=lambda options: options.mode == "offline",
    is_own_network=True,
    home=CLOUD,
)
