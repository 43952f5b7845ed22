"""What people see, as pure functions of what is known. Knows no database, no request and no user's rights."""
