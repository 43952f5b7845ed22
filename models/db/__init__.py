"""What Tuneroom remembers: tables, the store that is the only SQL, migrations, and the engines of both databases."""
