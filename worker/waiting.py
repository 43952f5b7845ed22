"""How torch's threads wait for each other at the end of every operation, as environment variables. Loads no torch."""

# libgomp spins for milliseconds by itself, which made a step six times slower beside one other busy process; not at
# all, and each operation waits for the system to wake its threads. So many turns, some microseconds, lie between
# (docs/performance.md).
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
