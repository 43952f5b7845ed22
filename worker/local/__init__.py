"""A training without a server: lays one job directory, runs its child, and writes a report. No second training path."""
