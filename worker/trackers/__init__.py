"""What speaks to the trackers, one file each, in a process of its own: knows no database and no job directory."""
