"""The ports made real. Adapters never import each other; only flows and the command line build them."""
