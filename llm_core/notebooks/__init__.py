"""The chapters as files: made from their sources, checked, shown and brought up to date.

Learners use `figure` (pictures) and `update` (a newer release); `build`, `lint` and `nbval` are for
whoever writes chapters and need the `dev` extra.
"""
