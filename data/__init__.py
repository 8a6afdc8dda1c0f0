"""Where datasets lie, and the commands that fetch, convert and check them."""
