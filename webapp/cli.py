"""Assembles `tuneroom` from its commands. Knows no command's work."""

import typer

from webapp.commands.bases import base
from webapp.commands.care import doctor, gc, migrate
from webapp.commands.datasets import datasets
from webapp.commands.people import key, user
from webapp.commands.run import demo, up, web
from webapp.commands.train import train
from webapp.commands.workers import worker

app = typer.Typer(
    name="tuneroom",
    help="Fine-tune language models with LoRA and QLoRA on your own machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(up)
app.command()(web)
app.command()(demo)
app.command()(train)
app.command()(migrate)
app.command()(doctor)
app.command()(gc)
app.add_typer(user, name="user")
app.add_typer(key, name="key")
app.add_typer(base, name="base")
app.add_typer(datasets, name="datasets")
app.add_typer(worker, name="worker")
