"""The `microblog` command: `main` is the program, `context` runs the features' own commands."""
