"""The endpoints: each parses, makes one call to a service, and presents what it gave."""
