"""TensorBoard: event files below the team's folder on the worker's machine. Needs no library and no token."""

from models.catalog.trackers.base import NoOptions, Tracker

TRACKER = Tracker(
    name="tensorboard",
    title="TensorBoard",
    when="Files that tensorboard --logdir reads, in a folder of the team's own on the machine of the worker.",
    options=NoOptions,
)
