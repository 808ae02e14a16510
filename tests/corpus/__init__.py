"""Labelled servers: each described in a file with all that is to be found on it, and nothing else.

`python -m tests.corpus` judges them all on a real server and prints how right the watchdog is.
"""
