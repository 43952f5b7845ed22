"""`python -P -m worker.selftest DEVICE`: one JSON line about what this machine's device can do, for `doctor`.

A process of its own, since only worker processes load torch. Knows no job and no database.
"""

import json
import sys


def main(device: str) -> None:
    """Print {"device", "dtype", "free_bytes", "total_bytes", "nf4"}; or {"missing"}, the sentence why not."""
    try:
        from worker.device import device_facts, nf4_self_test
    except ImportError as error:
        print(json.dumps({"missing": f"{error.name} is not installed"}))
        return
    try:
        facts = device_facts(device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts, with CUDA but no such device raises
        print(json.dumps({"missing": f"torch cannot use {device} ({str(error).splitlines()[0]})"}))
        return
    said = {"device": facts.name, "dtype": facts.compute_dtype, "nf4": nf4_self_test(device)}
    print(json.dumps(said | {"free_bytes": facts.free_bytes, "total_bytes": facts.total_bytes}))


if __name__ == "__main__":
    main(sys.argv[1])
