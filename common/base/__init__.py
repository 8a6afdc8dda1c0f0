"""What everything stands on: errors, whole files, settings, processes, tables."""
