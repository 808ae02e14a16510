"""From a report to what people and programs read: pure formatters of one value, so that they never disagree."""
