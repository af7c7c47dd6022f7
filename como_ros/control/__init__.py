"""Pure functions and state machines that decide what the arm may do."""
