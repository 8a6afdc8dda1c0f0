"""Programs for those who change the code; no part of what is installed."""
