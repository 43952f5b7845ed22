"""Short names for people where a public model id is long. The id itself is what programs use."""


def short_name(public_id: str) -> str:
    """`ft:base:team:suffix:x1` is "suffix", without a suffix "base x1"; a merge says so; a base is its own name."""
    kind, _, rest = public_id.partition(":")
    if kind == "merge":
        rest, _, mark = rest.rpartition(":")
        return f"{_adapter_name(rest)} merged {mark}"
    return _adapter_name(rest) if kind == "ft" else public_id


def _adapter_name(rest: str) -> str:
    """Bases have no colon in their name and marks neither; a suffix may."""
    base, _, rest = rest.partition(":")
    rest, _, mark = rest.rpartition(":")
    suffix = rest.partition(":")[2]
    return suffix or f"{base} {mark}"
