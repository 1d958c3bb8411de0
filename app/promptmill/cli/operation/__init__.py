"""Commands for operators, which use the database and the settings directly."""
