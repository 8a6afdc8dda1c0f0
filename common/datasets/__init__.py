"""A folder in a known layout to a table of cases, and the cases to splits, by patient."""
