"""Trackio: a database of the team's own on the worker's machine, looked at with `trackio show`."""

from models.catalog.trackers.base import Options, Tracker, project_field


class TrackioOptions(Options):
    project: str = project_field()


TRACKER = Tracker(
    name="trackio",
    title="Trackio",
    when="Local first: a database file of the team on the worker's machine, for trackio show.",
    options=TrackioOptions,
    library="trackio",
    is_local=lambda options: True,
)
