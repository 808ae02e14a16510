"""Text for people: durations, links, redaction and escaping."""
