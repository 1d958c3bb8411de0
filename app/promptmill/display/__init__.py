"""Display for people: printable texts, HTML for notebooks, progress.

The package knows neither HTTP nor the service, and imports its libraries at first use.
"""
