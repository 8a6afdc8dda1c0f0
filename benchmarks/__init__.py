"""What is timed, each beside a named alternative in the same run."""
