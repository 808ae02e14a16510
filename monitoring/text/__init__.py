"""Text for people: durations, links, and what makes text from others harmless."""
