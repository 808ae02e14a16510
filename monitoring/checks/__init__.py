"""The checks, each in a module of its own. ``registry`` lists them; ``facts`` holds what several of them share."""
