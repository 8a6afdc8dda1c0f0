"""Figures, charts, GIFs, report.html and the model card."""
