"""How things look to a person: texts made safe, HTML for notebooks, progress.

This package knows nothing of HTTP and of the service, and loads its libraries when it needs them.
"""
